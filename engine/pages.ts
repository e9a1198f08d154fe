import { PAGE, PAGE_VERSION } from './layout.ts';
import type { Windows } from './windows.ts';

/** A synchronous SHA-256, given by the host (engine has no I/O and no crypto of its own). */
export type Hash = (bytes: Uint8Array) => Uint8Array;

const HEX = Array.from({ length: 256 }, (_, b) => b.toString(16).padStart(2, '0'));
const hex = (bytes: Uint8Array): string => {
  let text = '';
  for (const b of bytes) text += HEX[b];
  return text;
};
/** ASCII bytes of a JSON value, other characters escaped, so that different values never give the same bytes. */
const json = (value: unknown): Uint8Array =>
  Uint8Array.from(
    JSON.stringify(value).replace(/[^\0-\x7f]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`),
    (c) => c.charCodeAt(0),
  );
/** Of a lower-case digit's character. */
const digit = (code: number): number => (code < 97 ? code - 48 : code - 87);
const unhex = (text: string, out: Uint8Array): void => {
  for (let i = 0; i < text.length; i += 2) out[i >> 1] = (digit(text.charCodeAt(i)) << 4) | digit(text.charCodeAt(i + 1));
};

/** The salt of pages that an adapter had a part in: no other's are named as they are. */
export const adaptedSalt = (salt: string, adapter: string | undefined): string =>
  adapter === undefined ? salt : JSON.stringify(['adapter', adapter, salt]);

/** Whole pages by what they hold: the name of the one after `parent` with ids[from .. from + 16). */
export interface KnownPages {
  named(parent: string, ids: readonly number[], from: number): string | undefined;
}

/**
 * Names of KV pages: a chain of SHA-256 over (pack digest, KV format, numerics id, PAGE_VERSION, tenant salt), then for every page
 * (its parent's name, its 16 token ids). Equal names mean equal tokens, weights and arithmetic from position 0 on.
 */
export class PageNames {
  private readonly hash: Hash;
  private readonly identity: string;
  private readonly known?: KnownPages;
  private readonly roots = new Map<string, string>();

  /** A page of another version has another name: it is missing, never misread. `known`: pages whose names need not be made again. */
  constructor(hash: Hash, identity: { pack: string; kv: string; numerics: string }, version = PAGE_VERSION, known?: KnownPages) {
    this.hash = hash;
    this.known = known;
    this.identity = JSON.stringify([identity.pack, identity.kv, identity.numerics, version]);
  }

  /** The parent of a first page. */
  root(salt: string): string {
    let r = this.roots.get(salt);
    if (!r) {
      r = hex(this.hash(json([this.identity, salt])));
      if (this.roots.size >= 1024) this.roots.clear();
      this.roots.set(salt, r);
    }
    return r;
  }

  /** The page after `parent` that holds ids[from .. from + 16). */
  next(parent: string, ids: readonly number[], from: number): string {
    const known = this.known?.named(parent, ids, from);
    if (known !== undefined) return known;
    const bytes = new Uint8Array(32 + PAGE * 4);
    unhex(parent, bytes);
    const view = new DataView(bytes.buffer);
    for (let i = 0; i < PAGE; i++) view.setUint32(32 + i * 4, ids[from + i], true);
    return hex(this.hash(bytes));
  }

  /** Names of all whole pages of `ids`. */
  chain(ids: readonly number[], salt: string): string[] {
    const names: string[] = [];
    let parent = this.root(salt);
    for (let from = 0; from + PAGE <= ids.length; from += PAGE) {
      parent = this.next(parent, ids, from);
      names.push(parent);
    }
    return names;
  }
}

/** What a page holds: the tokens after a chain of pages, 16 or the first few. */
export interface Content {
  /** Name of the page before, or the root. */
  parent: string;
  ids: readonly number[];
}

/**
 * The pool's bookkeeping: which page is free, referenced, or kept for its name. A page is unreferenced and named
 * (cached, evicted least recently used first), referenced by one or more sequences, or free. With `windows` it may have lost the part of
 * layers that slide, and whoever references it says whether that is seen.
 */
export class PagePool implements KnownPages {
  readonly size: number;
  /** Absent: every page has all its parts as long as it is here. */
  readonly windows?: Windows;
  private readonly free: number[] = [];
  private readonly refs: Int32Array;
  private readonly names: (string | undefined)[];
  private readonly byName = new Map<string, number>();
  private readonly idle = new Map<number, true>(); // unreferenced named pages, least recently used first
  private readonly contents: (Content | undefined)[];
  private readonly children = new Map<string, Set<number>>(); // by parent: named pages whose content is known

  constructor(size: number, windows?: Windows) {
    this.size = size;
    this.windows = windows;
    this.refs = new Int32Array(size);
    this.names = new Array(size).fill(undefined);
    this.contents = new Array(size).fill(undefined);
    for (let p = size - 1; p >= 0; p--) this.free.push(p);
  }

  /** Pages that `alloc` can still give. */
  get available(): number {
    return this.free.length + this.idle.size;
  }

  get cached(): number {
    return this.idle.size;
  }

  get referenced(): number {
    return this.size - this.available;
  }

  /**
   * A page with one reference and no name, all of whose parts are seen once (`whole` false: without the part of layers that slide); undefined
   * when every page is referenced, or every such part is seen.
   */
  alloc(whole = true): number | undefined {
    let p = this.free.pop();
    if (p === undefined) {
      p = this.idle.keys().next().value;
      if (p === undefined) return undefined;
      this.idle.delete(p);
      this.forget(p);
    }
    if (whole && this.windows && !this.windows.give(p)) {
      this.free.push(p);
      return undefined;
    }
    this.refs[p] = 1;
    return p;
  }

  /** One more sees all of a referenced page; false when a part is gone. */
  see(p: number): boolean {
    return this.windows?.see(p) ?? true;
  }

  /** Takes back that all of a page is seen, before its reference. */
  leave(p: number): void {
    this.windows?.leave(p, this.names[p] !== undefined);
  }

  /** Whether that name's page is here with all its parts. */
  whole(name: string): boolean {
    const p = this.byName.get(name);
    return p !== undefined && (this.windows?.has(p) ?? true);
  }

  /** How many first pages of a chain, `most` at most, a sequence can go on from: all are here, those that its window shows with all parts. */
  prefix(names: readonly string[], most = names.length): number {
    let [found, row] = [0, 0];
    for (let i = 0; i < most; i++) {
      const p = this.byName.get(names[i]);
      if (p === undefined) break;
      row = (this.windows?.has(p) ?? true) ? row + 1 : 0;
      if (row >= Math.min(i + 1, this.windows?.reach ?? 0)) found = i + 1;
    }
    return found;
  }

  /** The page of that name with one more reference, if it is here. */
  take(name: string): number | undefined {
    const p = this.byName.get(name);
    if (p === undefined) return undefined;
    if (this.refs[p]++ === 0) this.idle.delete(p);
    return p;
  }

  has(name: string): boolean {
    return this.byName.has(name);
  }

  /** Whether that name's page is here without a reference; `whole`: with all its parts, which nobody sees. */
  isIdle(name: string, whole = false): boolean {
    const p = this.byName.get(name);
    if (p === undefined) return false;
    return whole ? (this.windows?.isIdle(p) ?? false) : this.refs[p] === 0;
  }

  /** Gives a full page its name. The first page of a name keeps it unless it has lost a part; a later one stays private to its sequence. */
  publish(p: number, name: string, content?: Content): void {
    if (this.names[p] !== undefined) return;
    const other = this.byName.get(name);
    if (other !== undefined) {
      if (!this.windows?.has(p) || this.windows.has(other)) return;
      this.forget(other);
      if (this.idle.delete(other)) this.free.push(other);
    }
    this.names[p] = name;
    this.byName.set(name, p);
    if (!content) return;
    this.contents[p] = content;
    const others = this.children.get(content.parent);
    if (others) others.add(p);
    else this.children.set(content.parent, new Set([p]));
  }

  /** Keeps a page of fewer than 16 tokens when its sequence ends. Its name is no chain's: only `beginning` finds it. */
  keep(p: number, content: Content): void {
    this.publish(p, `${content.parent}+${content.ids.join()}`, content);
  }

  /** The page after `parent` that shares most first tokens with ids[from..], at most `most` of them. The caller copies it. */
  beginning(parent: string, ids: readonly number[], from: number, most: number): { page: number; tokens: number } | undefined {
    let best: { page: number; tokens: number } | undefined;
    for (const page of this.children.get(parent) ?? []) {
      if (this.windows && !this.windows.has(page)) continue;
      const has = this.contents[page]?.ids ?? [];
      let tokens = 0;
      while (tokens < most && tokens < has.length && has[tokens] === ids[from + tokens]) tokens++;
      if (tokens > (best?.tokens ?? 0)) best = { page, tokens };
    }
    return best;
  }

  /** The name of the whole page after `parent` that holds ids[from .. from + 16), if it is here and its content is known. */
  named(parent: string, ids: readonly number[], from: number): string | undefined {
    for (const page of this.children.get(parent) ?? []) {
      const has = this.contents[page]?.ids;
      if (has?.length === PAGE && has.every((id, i) => id === ids[from + i])) return this.names[page];
    }
    return undefined;
  }

  release(p: number): void {
    if (this.refs[p] <= 0) throw new Error(`page ${p} released more often than taken`);
    if (--this.refs[p] > 0) return;
    if (this.names[p] === undefined) this.free.push(p);
    else this.idle.set(p, true);
  }

  /** Releases a sequence's pages, the last first, so that a chain loses its leaves before its root. */
  releaseAll(pages: readonly number[]): void {
    for (let i = pages.length - 1; i >= 0; i--) this.release(pages[i]);
  }

  /** Forgets all names: what the pages held is gone. */
  clear(): void {
    for (const [p] of this.names.entries()) this.forget(p);
    this.free.push(...this.idle.keys());
    this.idle.clear();
  }

  private forget(p: number): void {
    const name = this.names[p];
    if (name !== undefined) this.byName.delete(name);
    this.names[p] = undefined;
    this.windows?.drop(p);
    const parent = this.contents[p]?.parent;
    this.contents[p] = undefined;
    if (parent === undefined) return;
    const siblings = this.children.get(parent);
    siblings?.delete(p);
    if (siblings?.size === 0) this.children.delete(parent);
  }
}
