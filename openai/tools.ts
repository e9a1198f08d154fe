/**
 * Tool calls out of the model's text, as it streams, in the dialects of `openai/dialects`: blocks that a tag opens, with text before,
 * between and after them, and JSON that is the whole answer. A call whose name comes first is streamed: its name, then the arguments in
 * pieces. A block of another order is read whole at its end, and is text when it is no call. Arguments already on their way cannot be
 * taken back: where their JSON breaks, the call ends and the rest is text. A call that the text's end cuts off before its arguments is
 * left out. What comes out does not depend on how the text was cut into pieces.
 */

import { type Dialect, type Head, type NextArgument, type Offered, wholeCall } from './dialects/dialect.ts';
import { TAGGED, WHOLE } from './dialects/index.ts';

export type Piece =
  | { kind: 'text'; text: string }
  /** What the model thinks before it answers; never of this parser. */
  | { kind: 'reasoning'; text: string }
  /** `call` counts from 0. */
  | { kind: 'name'; call: number; name: string }
  | { kind: 'arguments'; call: number; text: string }
  /** The call's arguments end here without being whole. */
  | { kind: 'cut'; call: number };

export interface ToolParserOptions {
  /** The tools offered: JSON that is the whole answer is a call only of one of them. */
  tools?: Iterable<OfferedTool>;
  /** What is no call from its first character on is JSON: nothing inside it is taken for one. */
  json?: boolean;
}

export interface OfferedTool {
  name: string;
  parameters?: unknown;
}

/** Parameters of a tool that are text and nothing else, by the schema of each alone. */
export function textParameters(parameters: unknown): string[] {
  const { properties } = (parameters ?? {}) as { properties?: unknown };
  if (typeof properties !== 'object' || properties === null) return [];
  return Object.entries(properties)
    .filter(([, schema]) => (schema as { type?: unknown } | null)?.type === 'string')
    .map(([name]) => name);
}

interface State {
  /** `begin`: nothing is decided yet; `head`, `whole`: after an opening; `others`: arguments that are no JSON; `further`: after a call. */
  mode: 'begin' | 'text' | 'head' | 'whole' | 'arguments' | 'others' | 'tail' | 'further' | 'plain';
  /** Text not yet decided on. */
  buffer: string;
  /** White space before an open block: dropped with a call, kept when the block is text. */
  space: string;
  calls: number;
  /** Of the open block. */
  dialect: Dialect;
  /** Open brackets inside the arguments, outermost first: '{' or '['. */
  depth: string;
  /** What reads arguments that are no JSON, of a tool with these text parameters, and how many were there. */
  next?: NextArgument;
  texts: ReadonlySet<string>;
  given: number;
  /** Inside a JSON string: 'in', after its backslash: 'escape'. */
  string: 'out' | 'in' | 'escape';
}

const NONE: ReadonlySet<string> = new Set();

export class ToolParser {
  readonly #offered: Offered;
  readonly #json: boolean;
  readonly #s: State = { mode: 'begin', buffer: '', space: '', calls: 0, dialect: WHOLE, depth: '', texts: NONE, given: 0, string: 'out' };
  #out: Piece[] = [];

  constructor({ tools = [], json = false }: ToolParserOptions = {}) {
    this.#offered = new Map([...tools].map((t) => [t.name, new Set(textParameters(t.parameters))]));
    this.#json = json;
  }

  /** Calls begun. */
  get calls(): number {
    return this.#s.calls;
  }

  /** True when a call is complete and none is open. */
  get complete(): boolean {
    return this.#s.calls > 0 && ['text', 'tail', 'further'].includes(this.#s.mode);
  }

  /** Whether a call is open that is not yet whole. */
  get inside(): boolean {
    return ['head', 'whole', 'arguments', 'others'].includes(this.#s.mode);
  }

  push(text: string): Piece[] {
    this.#s.buffer += text;
    while (this.#advance()) {}
    return this.#take();
  }

  /** At the end of the text: what is left undecided is text, except what a call lacks or what began one. */
  flush(): Piece[] {
    const s = this.#s;
    const { mode, buffer } = s;
    if (mode === 'arguments' || mode === 'others') this.#cut();
    else if (mode === 'head') {
      this.#wholeCall(buffer); // what only began one is nobody's text
    } else if (mode === 'whole') {
      if (!this.#wholeCall(buffer) && !/^\s*(?:[{[]|$)/.test(buffer)) this.#text(s.space + s.dialect.open + buffer);
    } else if (mode === 'begin' || mode === 'plain') {
      if (!this.#cutHead(buffer)) this.#text(untagged(buffer));
    } else if (mode === 'text' && !(s.calls > 0 && buffer.trim() === '')) this.#text(untagged(buffer));
    s.buffer = '';
    s.mode = 'text';
    return this.#take();
  }

  /** JSON that was to be a whole call of a tool, as far as it goes, which is at least to its name's key. */
  #cutHead(text: string): boolean {
    const name = /"name"\s*(?::\s*(?:"([\w-]*)("[\s\S]*)?)?)?$/.exec(text);
    if (!name || WHOLE.head(text, this.#offered, false) !== 'more') return false;
    return [...this.#offered.keys()].some((n) => (name[2] === undefined ? n.startsWith(name[1] ?? '') : n === name[1]));
  }

  #take(): Piece[] {
    const out = this.#out;
    this.#out = [];
    return out;
  }

  #cut(): void {
    this.#out.push({ kind: 'cut', call: this.#s.calls - 1 });
  }

  #text(text: string): void {
    if (text) this.#out.push({ kind: 'text', text });
  }

  #to(mode: State['mode'], used = 0): true {
    this.#s.mode = mode;
    this.#s.buffer = this.#s.buffer.slice(used);
    return true;
  }

  /** One step; false when more text is needed. */
  #advance(): boolean {
    switch (this.#s.mode) {
      case 'begin':
        return this.#atBegin();
      case 'text':
        return this.#inText();
      case 'head':
        return this.#inHead();
      case 'whole':
        return this.#inWhole();
      case 'arguments':
        return this.#inArguments();
      case 'others':
        return this.#inOthers();
      case 'tail':
        return this.#inTail();
      case 'further':
        return this.#further();
      case 'plain':
        this.#text(this.#s.buffer);
        this.#s.buffer = '';
        return false;
    }
  }

  /** The text's first characters: a call that is all of it, a tag, or neither. */
  #atBegin(): boolean {
    const { buffer } = this.#s;
    if (buffer === '') return false;
    const head = WHOLE.head(buffer, this.#offered, false);
    if (head === 'more') return false;
    this.#s.dialect = WHOLE;
    if (head) return this.#call(head);
    if (!this.#json || TAGGED.some((d) => buffer.startsWith(d.open))) return this.#to('text');
    return TAGGED.some((d) => d.open.startsWith(buffer)) ? false : this.#to('plain');
  }

  /** Text up to a tag; the white space before a tag belongs to the block. */
  #inText(): boolean {
    const s = this.#s;
    let found: { at: number; dialect: Dialect } | undefined;
    for (const dialect of TAGGED) {
      const at = s.buffer.indexOf(dialect.open);
      if (at >= 0 && at < (found?.at ?? Number.POSITIVE_INFINITY)) found = { at, dialect };
    }
    const held = found ? s.buffer.length - found.at : Math.max(...TAGGED.map((d) => partial(s.buffer, d.open)));
    const safe = s.buffer.slice(0, s.buffer.length - held).trimEnd().length;
    this.#text(s.buffer.slice(0, safe));
    if (!found) {
      s.buffer = s.buffer.slice(safe);
      return false;
    }
    s.space = s.buffer.slice(safe, found.at);
    s.dialect = found.dialect;
    return this.#to('head', found.at + found.dialect.open.length);
  }

  #inHead(): boolean {
    const s = this.#s;
    const head = s.dialect.head(s.buffer, this.#offered, false);
    if (head === 'more') return false;
    if (head) return this.#call(head);
    if (s.dialect.close) return this.#to('whole');
    this.#text(s.space + s.dialect.open);
    return this.#to('text');
  }

  #call(head: Head): true {
    const s = this.#s;
    this.#out.push({ kind: 'name', call: s.calls++, name: head.name });
    if (head.whole) this.#out.push({ kind: 'arguments', call: s.calls - 1, text: '{}' });
    s.next = head.next;
    s.texts = this.#offered.get(head.name) ?? NONE;
    s.given = 0;
    return this.#to(head.whole ? 'tail' : head.next ? 'others' : 'arguments', head.at);
  }

  /** Each argument as JSON as soon as it is whole. */
  #inOthers(): boolean {
    const s = this.#s;
    const read = s.next?.(s.buffer, s.given === 0, s.texts) ?? null;
    if (read === 'more') return false;
    if (read === null) {
      this.#cut();
      return this.#to('text');
    }
    const ends = 'end' in read;
    const text = ends ? (s.given === 0 ? '{}' : '}') : `${s.given === 0 ? '{' : ', '}${JSON.stringify(read.name)}: ${read.json}`;
    s.given++;
    this.#out.push({ kind: 'arguments', call: s.calls - 1, text });
    return this.#to(ends ? 'tail' : 'others', read.at);
  }

  /** A block with its keys in another order, or without arguments. */
  #inWhole(): boolean {
    const s = this.#s;
    const close = s.dialect.close as string;
    const end = s.buffer.indexOf(close);
    if (end < 0) return false;
    const body = s.buffer.slice(0, end);
    if (!this.#wholeCall(body)) this.#text(s.space + s.dialect.open + body + close);
    return this.#to('text', end + close.length);
  }

  #wholeCall(body: string): boolean {
    const whole = wholeCall(body);
    if (!whole) return false;
    const call = this.#s.calls++;
    this.#out.push({ kind: 'name', call, name: whole.name }, { kind: 'arguments', call, text: whole.arguments });
    return true;
  }

  /** Follows strings and brackets only: enough to find the end, or the place where it cannot be JSON any more. */
  #inArguments(): boolean {
    const s = this.#s;
    let i = 0;
    let next: 'tail' | 'text' | null = null;
    for (; i < s.buffer.length && !next; i++) {
      const c = s.buffer[i];
      if (s.string === 'escape') s.string = 'in';
      else if (s.string === 'in') {
        if (c === '"') s.string = 'out';
        else if (c === '\\') s.string = 'escape';
        else if (c < ' ') next = 'text';
      } else if (c === '"') s.string = 'in';
      else if (c === '{' || c === '[') s.depth += c;
      else if (c === '}' || c === ']') {
        if (s.depth.at(-1) !== (c === '}' ? '{' : '[')) next = 'text';
        else s.depth = s.depth.slice(0, -1);
        if (s.depth === '') next = 'tail';
      } else if (!/[\s\w,:.+-]/.test(c)) next = 'text';
    }
    if (next === 'text') i--; // the character that broke it is text
    if (i > 0) this.#out.push({ kind: 'arguments', call: s.calls - 1, text: s.buffer.slice(0, i) });
    s.buffer = s.buffer.slice(i);
    if (next === 'text') this.#cut();
    if (!next) return false;
    s.mode = next;
    s.depth = '';
    s.string = 'out';
    return true;
  }

  /** What still belongs to a call after its arguments. */
  #inTail(): boolean {
    const tail = this.#s.dialect.tail(this.#s.buffer);
    return tail === 'more' ? false : this.#to(tail.next === 'call' ? 'further' : 'text', tail.at);
  }

  #further(): boolean {
    const s = this.#s;
    const head = s.dialect.head(s.buffer, this.#offered, true);
    if (head === 'more') return false;
    return head ? this.#call(head) : this.#to('text');
  }
}

/** A text that ends amid a tag, without what there is of it; one or two characters may be anything. */
function untagged(text: string): string {
  const held = Math.max(...TAGGED.map((d) => partial(text, d.open)));
  return held > 2 ? text.slice(0, -held).trimEnd() : text;
}

/** How many of the last characters of `text` begin `tag`. */
function partial(text: string, tag: string): number {
  for (let k = Math.min(tag.length - 1, text.length); k > 0; k--) if (text.endsWith(tag.slice(0, k))) return k;
  return 0;
}
