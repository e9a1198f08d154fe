import type { Callable } from './dialects/index.ts';
import { ALPHABET, FIRST_TAG, type Fragment, type Net } from './net.ts';
import { TAGS, type Tag } from './tags.ts';

/** What in free text begins something that is bound. */
export interface Trigger {
  tag: Tag;
  then: Fragment;
}

const ROOT = '';
const SPACE = [...' \t\n\r'].map((c) => c.charCodeAt(0));

/**
 * Any tokens, even none; once a trigger has appeared, what belongs to it. Aho and Corasick's automaton of the triggers, so that every
 * text has one way through it. `bare`: tools whose call may also be the whole text, or a code block that begins it.
 */
export function freeText(net: Net, triggers: readonly Trigger[], bare: readonly Callable[] = []): Fragment {
  return (start, end) => {
    const states = new Map<string, number>([[ROOT, net.state()]]);
    for (const { tag } of triggers) {
      for (let i = 1; i < tag.length; i++) if (!states.has(tag.slice(0, i))) states.set(tag.slice(0, i), net.state());
      states.set(tag, net.state());
    }
    const root = states.get(ROOT) as number;
    /** Where a symbol leads from what has matched so far: the longest end of it that begins a trigger. */
    const next = (matched: string, symbol: number): number => {
      if (symbol >= FIRST_TAG) return states.get(TAGS[symbol - FIRST_TAG] ?? ROOT) ?? root;
      for (let text = matched + String.fromCharCode(symbol); text !== ''; text = text.slice(1)) {
        const at = symbol < 256 ? states.get(text) : undefined;
        if (at !== undefined) return at;
      }
      return root;
    };
    const free = (state: number, matched: string, own?: ReadonlyMap<number, number>): void => {
      const target = (c: number) => own?.get(c) ?? next(matched, c);
      net.skip(state, end);
      for (let lo = 0, hi = 0; lo < ALPHABET; lo = hi) {
        for (hi = lo + 1; hi < ALPHABET && target(hi) === target(lo); ) hi++;
        net.any(state, lo, hi - 1, target(lo));
      }
    };
    for (const [matched, state] of states) if (!triggers.some((t) => t.tag === matched)) free(state, matched);
    for (const { tag, then } of triggers) then(states.get(tag) as number, end);
    if (bare.length === 0) return net.skip(start, root);
    const head = new Head(net);
    net.skip(start, head.start);
    for (const [tool, at] of head.write(bare)) wholeCall(net, tool, end)(at, end);
    for (const [state, own] of head.arcs) free(state, ROOT, own);
  };
}

/** After a call's head: its arguments, its end, and the code block's. */
const wholeCall = (net: Net, tool: Callable, end: number): Fragment =>
  net.seq(
    net.alt(net.text(''), net.text(' ')),
    net.ruleCall(tool.args),
    net.alt(net.text('}'), net.text('\n}')),
    net.alt(net.text(''), net.text('\n```')),
    (from) => net.skip(from, end),
  );

/**
 * The states of ` ```json {"name": "…", "arguments": `, with any white space a JSON text may have there; whatever else comes leads back
 * into free text. Nothing in it but its first character may begin a trigger.
 */
class Head {
  readonly #net: Net;
  /** State → what of its symbols go on with the head. */
  readonly arcs = new Map<number, Map<number, number>>();
  readonly start: number;

  constructor(net: Net) {
    this.#net = net;
    this.start = this.#state();
  }

  write(tools: readonly Callable[]): [Callable, number][] {
    const fence = this.#spaces(this.#text(this.#spaces(this.start), '```'));
    const object = this.#text(this.start, '{');
    this.#text(fence, '{', object);
    const json = this.#spaces(this.#text(this.#text(this.start, '```'), 'json'));
    this.#text(json, '{', object);
    const name = this.#colon(this.#text(this.#spaces(object), '"name"'));
    return tools
      .filter((t) => /^[\w-]+$/.test(t.name))
      .flatMap((t) => {
        const comma = this.#text(this.#spaces(this.#text(name, `"${t.name}"`)), ',');
        return ['arguments', 'parameters'].map((key): [Callable, number] => {
          const colon = this.#spaces(this.#text(this.#spaces(comma), `"${key}"`));
          const bound = this.#net.state();
          this.#arcsOf(colon).set(58, bound);
          return [t, bound];
        });
      });
  }

  #colon(at: number): number {
    return this.#spaces(this.#text(this.#spaces(at), ':'));
  }

  #state(): number {
    const state = this.#net.state();
    this.arcs.set(state, new Map());
    return state;
  }

  #arcsOf(state: number): Map<number, number> {
    return this.arcs.get(state) as Map<number, number>;
  }

  #spaces(at: number): number {
    for (const c of SPACE) this.#arcsOf(at).set(c, at);
    return at;
  }

  /** Along states that are there already, then new ones; the last is `to`, where given. */
  #text(from: number, text: string, to?: number): number {
    let at = from;
    for (let i = 0; i < text.length; i++) {
      const arcs = this.#arcsOf(at);
      const c = text.charCodeAt(i);
      const known = arcs.get(c) ?? (i === text.length - 1 && to !== undefined ? to : this.#state());
      arcs.set(c, known);
      at = known;
    }
    return at;
  }
}
