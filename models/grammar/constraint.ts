import type { Constraint } from '../../engine/types.ts';
import type { Config } from './machine.ts';
import { type MaskLimits, Masks } from './masks.ts';
import type { Program } from './program.ts';
import type { PlainTokens } from './runs.ts';
import type { GrammarVocab, TokenTrie } from './trie.ts';

/** A `Constraint` that can be asked how far it is, and copied (for speculation, or `n` answers to one prompt). */
export interface GrammarConstraint extends Constraint {
  /** The text so far is complete: the generation may end here. Exactly then the stop ids are allowed. */
  mayEnd(): boolean;
  /** Nothing but a stop may follow, or one has been accepted. */
  finished(): boolean;
  clone(): GrammarConstraint;
}

/** A compiled grammar. Any number of sequences share it, and the masks it has cached. */
export interface Grammar {
  start(): GrammarConstraint;
  /** Whether the grammar accepts exactly this text (UTF-8); slow, for checks. */
  matches(bytes: Uint8Array): boolean;
  /** Keywords left out because the caller's `onUnsupported` said so, as "pointer keyword". */
  readonly ignored: readonly string[];
  /** Bytes of its automaton, about; its masks come on top, up to the compiler's `maskBytes`. */
  readonly bytes: number;
}

export function makeGrammar(
  program: Program,
  vocab: GrammarVocab,
  trie: TokenTrie,
  plain: PlainTokens,
  limits: MaskLimits,
  ignored: readonly string[],
): Grammar {
  const masks = new Masks(program, trie, plain, limits);
  const first = masks.machine.start();
  return {
    ignored,
    bytes: 4 * (program.arcs.data.length + program.calls.data.length + program.silent.data.length + 4 * program.isEnd.length),
    start: () => new Follower(vocab, trie, masks, first),
    matches(bytes) {
      let at: Config | null = first;
      for (const b of bytes) at = at && masks.machine.step(at, program.classOf[b]);
      return at?.accepting ?? false;
    },
  };
}

class Follower implements GrammarConstraint {
  private readonly vocab: GrammarVocab;
  private readonly trie: TokenTrie;
  private readonly masks: Masks;
  private at: Config;
  private ended = false;
  private readonly bits: Uint32Array; // [V / 32]
  private current: 'stale' | 'all' | 'bits' = 'stale';

  constructor(vocab: GrammarVocab, trie: TokenTrie, masks: Masks, at: Config) {
    this.vocab = vocab;
    this.trie = trie;
    this.masks = masks;
    this.at = at;
    this.bits = new Uint32Array((trie.size + 31) >> 5);
  }

  mask(): Uint32Array | null {
    if (this.current === 'stale') {
      const some = this.ended || this.masks.fill(this.at, this.bits);
      if (this.ended) this.bits.fill(0);
      if (this.mayEnd()) for (const id of this.vocab.stopIds) if (id >= 0 && id < this.trie.size) this.bits[id >> 5] |= 1 << (id & 31);
      this.current = some || !this.mayEnd() ? 'bits' : 'all';
    }
    return this.current === 'all' ? null : this.bits;
  }

  accept(id: number): void {
    const next = this.after(id);
    if (next === null) throw new Error(`grammar: token ${id} may not come here`);
    if (next === 'end') this.ended = true;
    else this.at = next;
    this.current = 'stale';
  }

  private after(id: number): Config | 'end' | null {
    if (!Number.isInteger(id) || id < 0 || id >= this.trie.size) return null;
    if (this.vocab.stopIds.includes(id)) return this.mayEnd() ? 'end' : null;
    if (this.ended) return null;
    const { machine } = this.masks;
    const { classOf } = machine.program;
    const special = this.trie.specials.get(id);
    if (special !== undefined) return machine.step(this.at, classOf[special]);
    const bytes = this.vocab.bytesOf(id);
    if (bytes.length === 0) return this.mask() === null ? this.at : null; // padding of the logits: only where nothing is masked
    let at: Config | null = this.at;
    for (let i = 0; i < bytes.length && at; i++) at = machine.step(at, classOf[bytes[i]]);
    return at;
  }

  mayEnd(): boolean {
    return this.ended || this.at.accepting;
  }

  finished(): boolean {
    return this.ended || (this.at.accepting && this.at.threads.length === 0);
  }

  clone(): GrammarConstraint {
    const copy = new Follower(this.vocab, this.trie, this.masks, this.at);
    copy.ended = this.ended;
    return copy;
  }
}
