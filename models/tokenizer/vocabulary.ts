import { type TokenizerSpec, TokenType } from './spec.ts';

/** Token bytes ⇄ ids in two flat tables: about 12 bytes a token besides the text, where a Map of strings takes over 100. */
export class Vocabulary {
  readonly size: number;
  /** Of the longest token that text can become. */
  readonly longest: number;
  readonly #blob: Uint8Array;
  readonly #offsets: Uint32Array;
  readonly #slots: Int32Array; // open addressing: id + 1, 0 is free
  readonly #mask: number;
  /** Token of a single byte: byte-level BPE's first symbols, or SPM's byte fallback. */
  readonly byteIds = new Int32Array(256).fill(-1);

  constructor(spec: TokenizerSpec) {
    this.#blob = spec.blob;
    this.#offsets = spec.offsets;
    this.size = spec.types.length;
    let slots = 1024;
    while (slots < this.size * 2) slots *= 2;
    this.#mask = slots - 1;
    this.#slots = new Int32Array(slots);
    let longest = 1;
    for (let id = 0; id < this.size; id++) {
      const [start, end] = [spec.offsets[id], spec.offsets[id + 1]];
      const type = spec.types[id];
      if (type === TokenType.byte && end - start === 1) this.byteIds[spec.blob[start]] = id;
      // Control, user-defined and byte tokens are never what merging gives.
      if (type !== TokenType.normal || end === start) continue;
      if (spec.rules.kind === 'bpe-bytes' && end - start === 1) this.byteIds[spec.blob[start]] = id;
      longest = Math.max(longest, end - start);
      let slot = hash(spec.blob, start, end) & this.#mask;
      let taken = false;
      while (this.#slots[slot] !== 0 && !taken) {
        taken = this.#equals(this.#slots[slot] - 1, spec.blob, start, end); // the first of equal tokens counts
        slot = (slot + 1) & this.#mask;
      }
      if (!taken) this.#slots[slot] = id + 1;
    }
    this.longest = longest;
  }

  /** Id of the token with exactly these bytes, -1 when there is none. */
  find(bytes: Uint8Array, start: number, end: number): number {
    if (end - start > this.longest) return -1;
    let slot = hash(bytes, start, end) & this.#mask;
    for (let v = this.#slots[slot]; v !== 0; v = this.#slots[slot]) {
      if (this.#equals(v - 1, bytes, start, end)) return v - 1;
      slot = (slot + 1) & this.#mask;
    }
    return -1;
  }

  /** Bytes of a token; empty for an id outside the vocabulary. A view: do not change it. */
  bytes(id: number): Uint8Array {
    return id >= 0 && id < this.size ? this.#blob.subarray(this.#offsets[id], this.#offsets[id + 1]) : this.#blob.subarray(0, 0);
  }

  #equals(id: number, bytes: Uint8Array, start: number, end: number): boolean {
    let at = this.#offsets[id];
    if (this.#offsets[id + 1] - at !== end - start) return false;
    for (let i = start; i < end; i++) if (this.#blob[at++] !== bytes[i]) return false;
    return true;
  }
}

/** FNV-1a, with a last mix because the table takes its low bits. */
function hash(bytes: Uint8Array, start: number, end: number): number {
  let h = 0x811c9dc5;
  for (let i = start; i < end; i++) h = Math.imul(h ^ bytes[i], 0x01000193);
  return h ^ (h >>> 15);
}
