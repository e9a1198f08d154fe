import { Template } from '@huggingface/jinja';

const MAX_TEMPLATE = 1 << 20; // characters
const MAX_RENDERED = 16 << 20;

export interface RenderInput {
  messages: readonly Record<string, unknown>[];
  tools?: readonly Record<string, unknown>[];
  addGenerationPrompt?: boolean;
  /** Further variables, e.g. `enable_thinking`. */
  args?: Record<string, unknown>;
}

export interface ChatTemplate {
  /** Throws what the template raises. */
  render(input: RenderInput): string;
}

export interface TemplateOptions {
  bos?: string;
  eos?: string;
  /** Time for `strftime_now`; default: the clock. */
  now?: () => Date;
}

/** A Hugging Face chat template (Jinja), compiled once. Throws when it does not parse. */
export function compileTemplate(source: string, { bos = '', eos = '', now = () => new Date() }: TemplateOptions = {}): ChatTemplate {
  if (source.length > MAX_TEMPLATE) throw new Error(`the chat template has ${source.length} characters, at most ${MAX_TEMPLATE} are allowed`);
  const template = new Template(source);
  return {
    render({ messages, tools, addGenerationPrompt = false, args = {} }) {
      const text = template.render({
        ...args,
        messages,
        ...(tools && tools.length > 0 ? { tools } : {}),
        add_generation_prompt: addGenerationPrompt,
        bos_token: bos,
        eos_token: eos,
        raise_exception: (message: string) => {
          throw new Error(message);
        },
        strftime_now: (format: string) => strftime(now(), format),
      });
      if (text.length > MAX_RENDERED) throw new Error(`the rendered prompt has ${text.length} characters`);
      return text;
    },
  };
}

/** The directives that chat templates use. */
function strftime(d: Date, format: string): string {
  const two = (n: number) => String(n).padStart(2, '0');
  const month = d.toLocaleString('en-US', { month: 'long' });
  const parts: Record<string, string> = {
    Y: String(d.getFullYear()),
    m: two(d.getMonth() + 1),
    d: two(d.getDate()),
    B: month,
    b: month.slice(0, 3),
    H: two(d.getHours()),
    M: two(d.getMinutes()),
    S: two(d.getSeconds()),
  };
  return format.replace(/%([YmdBbHMS])/g, (_, k: string) => parts[k]);
}
