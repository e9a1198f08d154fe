/**
 * Tool calls out of the model's text, as it streams: blocks of the form that Hermes and Qwen models write,
 *
 *   <tool_call>
 *   {"name": "get_weather", "arguments": {"city": "Oslo"}}
 *   </tool_call>
 *
 * with text before, between and after them. A block whose name comes first is streamed: its name, then the arguments in pieces.
 * Any other block is read whole at its end, and is text when it is no call. Arguments already on their way cannot be taken back:
 * where their JSON breaks, the call ends and the rest is text. What comes out does not depend on how the text was cut into pieces.
 */

export type Piece =
  | { kind: 'text'; text: string }
  /** `call` counts from 0. */
  | { kind: 'name'; call: number; name: string }
  | { kind: 'arguments'; call: number; text: string }
  /** The call's arguments end here without being whole. */
  | { kind: 'cut'; call: number };

const OPEN = '<tool_call>';
const CLOSE = '</tool_call>';
/** Longest match is far below HEADER_MAX; a longer block without a match has no streamable header. */
const HEADER =
  /^\s{0,64}\{\s{0,64}"name"\s{0,64}:\s{0,64}("(?:[^"\\]|\\["\\/bfnrtu]){1,256}")\s{0,64},\s{0,64}"(?:arguments|parameters)"\s{0,64}:\s{0,64}(?=\{)/;
const HEADER_MAX = 1024;

export interface ToolParserState {
  mode: 'text' | 'block' | 'arguments' | 'close';
  /** Text not yet decided on. */
  buffer: string;
  /** White space before an open block: dropped with a call, kept when the block is text. */
  space: string;
  calls: number;
  /** Open brackets inside the arguments, outermost first: '{' or '['. */
  depth: string;
  /** Inside a JSON string: 'in', after its backslash: 'escape'. */
  string: 'out' | 'in' | 'escape';
}

export class ToolParser {
  readonly #s: ToolParserState = { mode: 'text', buffer: '', space: '', calls: 0, depth: '', string: 'out' };
  #out: Piece[] = [];

  /** Calls begun. */
  get calls(): number {
    return this.#s.calls;
  }

  /** True when a call is complete and none is open. */
  get complete(): boolean {
    return this.#s.calls > 0 && (this.#s.mode === 'text' || this.#s.mode === 'close');
  }

  push(text: string): Piece[] {
    this.#s.buffer += text;
    while (this.#advance()) {}
    return this.#take();
  }

  /** At the end of the text: what is left undecided is text, except the end of a call that lacks only its closing tag. */
  flush(): Piece[] {
    const s = this.#s;
    if (s.mode === 'arguments') this.#cut();
    if (s.mode === 'block' && !this.#wholeCall(s.buffer)) this.#text(s.space + OPEN + s.buffer);
    else if (s.mode === 'text' && !(s.calls > 0 && s.buffer.trim() === '')) this.#text(s.buffer);
    s.buffer = '';
    s.mode = 'text';
    return this.#take();
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

  /** One step; false when more text is needed. */
  #advance(): boolean {
    switch (this.#s.mode) {
      case 'text':
        return this.#inText();
      case 'block':
        return this.#inBlock();
      case 'arguments':
        return this.#inArguments();
      case 'close':
        return this.#inClose();
    }
  }

  /** Text up to a tag; the white space before a tag belongs to the block. */
  #inText(): boolean {
    const s = this.#s;
    const at = s.buffer.indexOf(OPEN);
    if (at >= 0) {
      const text = s.buffer.slice(0, at).trimEnd();
      this.#text(text);
      s.space = s.buffer.slice(text.length, at);
      s.buffer = s.buffer.slice(at + OPEN.length);
      s.mode = 'block';
      return true;
    }
    const safe = s.buffer.slice(0, s.buffer.length - partial(s.buffer, OPEN)).trimEnd().length;
    this.#text(s.buffer.slice(0, safe));
    s.buffer = s.buffer.slice(safe);
    return false;
  }

  #inBlock(): boolean {
    const s = this.#s;
    const header = HEADER.exec(s.buffer.slice(0, HEADER_MAX));
    const name = header && parsed(header[1]);
    if (header && typeof name === 'string') {
      this.#out.push({ kind: 'name', call: s.calls++, name });
      s.buffer = s.buffer.slice(header[0].length);
      s.mode = 'arguments';
      return true;
    }
    const end = s.buffer.indexOf(CLOSE);
    if (end < 0) return false;
    const body = s.buffer.slice(0, end);
    if (!this.#wholeCall(body)) this.#text(s.space + OPEN + body + CLOSE);
    s.buffer = s.buffer.slice(end + CLOSE.length);
    s.mode = 'text';
    return true;
  }

  /** A block with its keys in another order, or without arguments. */
  #wholeCall(body: string): boolean {
    const value = parsed(body);
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
    const { name, arguments: args = {} } = value as { name?: unknown; arguments?: unknown };
    if (typeof name !== 'string' || name === '') return false;
    const text = typeof args === 'string' ? args : JSON.stringify(args ?? {});
    this.#out.push({ kind: 'name', call: this.#s.calls, name }, { kind: 'arguments', call: this.#s.calls++, text });
    return true;
  }

  /** Follows strings and brackets only: enough to find the end, or the place where it cannot be JSON any more. */
  #inArguments(): boolean {
    const s = this.#s;
    let i = 0;
    let next: 'close' | 'text' | null = null;
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
        if (s.depth === '') next = 'close';
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

  /** From the arguments' end to the closing tag there is only the block's own end. */
  #inClose(): boolean {
    const s = this.#s;
    const end = s.buffer.indexOf(CLOSE);
    if (end < 0) {
      s.buffer = s.buffer.slice(s.buffer.length - partial(s.buffer, CLOSE));
      return false;
    }
    s.buffer = s.buffer.slice(end + CLOSE.length);
    s.mode = 'text';
    return true;
  }
}

/** How many of the last characters of `text` begin `tag`. */
function partial(text: string, tag: string): number {
  for (let k = Math.min(tag.length - 1, text.length); k > 0; k--) if (text.endsWith(tag.slice(0, k))) return k;
  return 0;
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}
