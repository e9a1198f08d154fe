import { Environment, parse, tokenize } from '@huggingface/jinja';
import type { DialectName } from './grammar/dialects/index.ts';
import { JinjaInterpreter } from './jinja.ts';

const MAX_TEMPLATE = 1 << 20; // characters
const MAX_TEXT = 16 << 20; // characters of any string on the way
const MAX_ITEMS = 1 << 16; // of any list
const MAX_STEPS = 500_000; // expressions and statements; a conversation of 1,000 messages takes about 50,000

export interface RenderInput {
  messages: readonly Record<string, unknown>[];
  tools?: readonly Record<string, unknown>[];
  addGenerationPrompt?: boolean;
  /** Further variables, e.g. `enable_thinking`. */
  args?: Record<string, unknown>;
}

export interface ChatTemplate {
  /** The template itself. */
  readonly source: string;
  /** Whether it prints the tools it is given. */
  readonly printsTools: boolean;
  /** Whether past calls and their results come out of it. */
  readonly printsCalls: boolean;
  /** How the model writes calls, where somebody has said so. */
  readonly toolCalls?: DialectName;
  /** Throws what the template raises, or when it does more than a chat template needs. */
  render(input: RenderInput): string;
}

export interface TemplateOptions {
  bos?: string;
  eos?: string;
  toolCalls?: DialectName;
  /** Time for `strftime_now`, in UTC; default: the clock. */
  now?: () => Date;
}

/** A Hugging Face chat template (Jinja), compiled once. Throws when it does not parse. */
export function compileTemplate(source: string, options: TemplateOptions = {}): ChatTemplate {
  const { bos = '', eos = '', now = () => new Date(), toolCalls } = options;
  if (source.length > MAX_TEMPLATE)
    throw new Error(`the chat template has ${source.length} characters, at most ${MAX_TEMPLATE} are allowed`);
  const program = parse(tokenize(source, { lstrip_blocks: true, trim_blocks: true }));
  let printsTools: boolean | undefined;
  let printsCalls: boolean | undefined;
  const template: ChatTemplate = {
    source,
    ...(toolCalls && { toolCalls }),
    get printsTools() {
      printsTools ??= toolsIn(template);
      return printsTools;
    },
    get printsCalls() {
      printsCalls ??= callsIn(template);
      return printsCalls;
    },
    render({ messages, tools, addGenerationPrompt, args = {} }) {
      const env = new Environment();
      const variables: Record<string, unknown> = {
        ...args,
        ...builtins,
        messages,
        ...(tools && tools.length > 0 && { tools }),
        ...(addGenerationPrompt !== undefined && { add_generation_prompt: addGenerationPrompt }),
        bos_token: bos,
        eos_token: eos,
        strftime_now: (format: string) => strftime(now(), format),
      };
      for (const [name, value] of Object.entries(variables)) env.set(name, value);
      return String(new BoundedInterpreter(env).run(program).value);
    },
  };
  return template;
}

const TOOL = { name: 'a_tool_to_look_for', description: '', parameters: { type: 'object', properties: {} } };
const ASKED = { role: 'user', content: 'Hi' };

/** Asked of the template itself: a tool's name comes out, or it does not. */
function toolsIn(template: ChatTemplate): boolean {
  try {
    return template
      .render({ messages: [ASKED], tools: [{ type: 'function', function: TOOL }], addGenerationPrompt: true })
      .includes(TOOL.name);
  } catch {
    return false;
  }
}

/** The same of a call and its result. One that refuses this conversation may still print another's. */
function callsIn(template: ChatTemplate): boolean {
  const call = { id: 'abcdef123', type: 'function', function: { name: 'a_call_to_look_for', arguments: {} } };
  const result = { role: 'tool', name: call.function.name, tool_call_id: call.id, content: 'a_result_to_look_for' };
  try {
    const text = template.render({
      messages: [ASKED, { role: 'assistant', content: '', tool_calls: [call] }, result],
      addGenerationPrompt: true,
    });
    return text.includes(call.function.name) && text.includes(result.content);
  } catch {
    return true;
  }
}

const builtins = {
  true: true,
  false: false,
  none: null,
  True: true,
  False: false,
  None: null,
  range: (...args: unknown[]) => range(args.filter((a) => typeof a === 'number')),
  raise_exception: (message: unknown) => {
    throw new Error(String(message));
  },
};

/** Jinja's range(stop) and range(start, stop, step). */
function range(args: number[]): number[] {
  const [start, stop, step] = args.length === 1 ? [0, args[0], 1] : [args[0] ?? 0, args[1] ?? 0, args[2] ?? 1];
  const count = step === 0 ? 0 : Math.max(0, Math.ceil((stop - start) / step));
  if (!(count <= MAX_ITEMS)) throw new Error(`the chat template asks for a range of ${count} numbers`);
  return Array.from({ length: count }, (_, i) => start + i * step);
}

/** Stops a template that runs too long or makes too much: nothing else could, in one thread whose clock stands still. */
class BoundedInterpreter extends JinjaInterpreter {
  #steps = 0;

  override evaluate(...args: Parameters<JinjaInterpreter['evaluate']>): ReturnType<JinjaInterpreter['evaluate']> {
    if (++this.#steps > MAX_STEPS) throw new Error(`the chat template takes more than ${MAX_STEPS} steps`);
    const result = super.evaluate(...args);
    const { value } = result as { value: unknown };
    if (typeof value === 'string' && value.length > MAX_TEXT) throw new Error(`the chat template makes more than ${MAX_TEXT} characters`);
    if (Array.isArray(value) && value.length > MAX_ITEMS) throw new Error(`the chat template makes a list of more than ${MAX_ITEMS} items`);
    return result;
  }
}

const MONTHS = 'January February March April May June July August September October November December'.split(' ');
const DAYS = 'Sunday Monday Tuesday Wednesday Thursday Friday Saturday'.split(' ');

/** Python's strftime directives that chat templates use, in English and UTC. */
function strftime(d: Date, format: string): string {
  const two = (n: number) => String(n).padStart(2, '0');
  const parts: Record<string, string> = {
    Y: String(d.getUTCFullYear()),
    y: two(d.getUTCFullYear() % 100),
    m: two(d.getUTCMonth() + 1),
    d: two(d.getUTCDate()),
    B: MONTHS[d.getUTCMonth()],
    b: MONTHS[d.getUTCMonth()].slice(0, 3),
    A: DAYS[d.getUTCDay()],
    a: DAYS[d.getUTCDay()].slice(0, 3),
    H: two(d.getUTCHours()),
    I: two(((d.getUTCHours() + 11) % 12) + 1),
    M: two(d.getUTCMinutes()),
    S: two(d.getUTCSeconds()),
    p: d.getUTCHours() < 12 ? 'AM' : 'PM',
    '%': '%',
  };
  return format.replace(/%-?([YymdBbAaHIMSp%])/g, (directive, k: string) => (directive[1] === '-' ? parts[k].replace(/^0/, '') : parts[k]));
}
