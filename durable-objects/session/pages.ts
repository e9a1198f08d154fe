import { bytesToHex, concatBytes, hexToBytes } from '@noble/hashes/utils.js';
import { type Frame, free } from '../../serving/responses/frames.ts';
import type { Sql } from '../rows.ts';
import { prepare, type Schema } from '../schema.ts';

/** What is billed is rows: pages share one of up to so many bytes; a larger page is cut. SQLite's rows end at 2 MB. */
const ROW_BYTES = 3 << 19;
/** Where a row has no order of use yet: its place by age, with room for the rows of a large page. */
const SPREAD = 4096;

const CREATE = `
CREATE TABLE IF NOT EXISTS pages (id INTEGER PRIMARY KEY, held TEXT, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS recent (id INTEGER PRIMARY KEY CHECK (id = 0), packs TEXT NOT NULL);
`;
const PAGES: Schema = {
  part: 'pages',
  version: 2, // 2: many pages a row
  tables: ['pages', 'recent'],
  upgrade: {
    1: `
ALTER TABLE pages RENAME TO pages1;
${CREATE}
INSERT INTO pages (id, held, data)
  SELECT p.n * ${SPREAD} + parts.part, CASE WHEN parts.part = 0 THEN json_array(json_array(p.name, p.bytes, lower(hex(p.digest)))) END, parts.data
  FROM (SELECT name, bytes, digest, row_number() OVER (ORDER BY used) AS n FROM pages1) AS p JOIN parts ON parts.name = p.name
  ORDER BY 1;
DROP TABLE pages1;
DROP TABLE parts;
`,
  },
  create: CREATE,
};

/** A page in its pack: name and digest as hex, bytes of its payload. */
type Held = [name: string, bytes: number, digest: string];

/** Pages that are stored and dropped together: a row, or the rows `id`, `id + 1` … of one large page. */
interface Pack {
  id: number;
  rows: number;
  bytes: number;
  names: string[];
}

interface Place {
  pack: Pack;
  at: number;
  bytes: number;
  digest: string;
}

/**
 * KV pages by their names, within a byte quota: the least recently used packs go first. The order of use is stored with the next
 * pages, not at each use: without its last changes another pack goes first, and no more.
 */
export class PageStore {
  readonly #sql: Sql;
  readonly quota: number;
  readonly #places = new Map<string, Place>();
  /** By id, the least recently used first. */
  readonly #packs = new Map<number, Pack>();
  /** Bytes of all payloads. */
  #bytes = 0;
  #next = SPREAD;
  /** Pages came whose order is not stored. */
  #came = false;
  /** What the last caller of `missing` is about to store, and the packs of its chain. */
  #coming: { names: ReadonlySet<string>; packs: Set<number> } = { names: new Set(), packs: new Set() };

  constructor(sql: Sql, quota: number) {
    this.#sql = sql;
    this.quota = quota;
    prepare(sql, PAGES);
    this.#load();
  }

  get bytes(): number {
    return this.#bytes;
  }

  get count(): number {
    return this.#places.size;
  }

  has(name: string): boolean {
    return this.#places.has(name);
  }

  /** Of a chain of names, root first, those that are not here. The others count as used now, the root last. */
  missing(names: readonly string[]): string[] {
    const lacking = names.filter((name) => !this.has(name));
    const packs = new Set(names.flatMap((name) => this.#places.get(name)?.pack.id ?? []));
    this.#coming = { names: new Set(lacking), packs };
    this.touch(names);
    return lacking;
  }

  /** Used now; a page's ancestors after it, so that no page outlives what it needs. */
  touch(names: readonly string[]): void {
    for (const pack of new Set(names.toReversed().flatMap((name) => this.#places.get(name)?.pack ?? []))) {
      this.#packs.delete(pack.id);
      this.#packs.set(pack.id, pack);
    }
  }

  /**
   * Stores checked frames, each once; answers how many are here. Where there is no room, the oldest pages go, but never the beginning
   * of the chain that they belong to, without which they are of no use. Called without an await around, it is one transaction.
   */
  put(frames: readonly Frame[]): number {
    let taken = 0;
    let together: Frame[] = [];
    let bytes = 0;
    const names = new Set<string>();
    const write = () => {
      if (together.length > 0) this.#write(together);
      together = [];
      bytes = 0;
    };
    for (const frame of frames) {
      const size = frame.payload.byteLength;
      const here = this.has(frame.name) || names.has(frame.name);
      if (!here && !this.#makeRoom(bytes + size, this.#coming.names.has(frame.name))) continue;
      taken++;
      if (here) continue;
      if (bytes + size > ROW_BYTES) write();
      together.push(frame);
      names.add(frame.name);
      bytes += size;
    }
    write();
    return taken;
  }

  /** Stores the order of use: after pages came. */
  remember(): void {
    if (!this.#came) return;
    this.#came = false;
    this.#sql.exec('INSERT OR REPLACE INTO recent (id, packs) VALUES (0, ?)', JSON.stringify([...this.#packs.keys()]));
  }

  /** Size and digest without the payload. */
  head(name: string): { bytes: number; digest: Uint8Array } | undefined {
    const place = this.#places.get(name);
    return place && { bytes: place.bytes, digest: hexToBytes(place.digest) };
  }

  /** Reads payloads, each as its parts. A row that holds several pages is read once when they are asked for in their order. */
  reader(): (name: string) => Uint8Array[] {
    let row = -1;
    let data = new Uint8Array();
    const read = (id: number): Uint8Array => {
      if (id !== row) data = new Uint8Array(this.#sql.exec<{ data: ArrayBuffer }>('SELECT data FROM pages WHERE id = ?', id).one().data);
      row = id;
      return data;
    };
    return (name) => {
      const place = this.#places.get(name);
      if (!place) throw new Error(`pages: there is no page ${name}`);
      const { pack, at, bytes } = place;
      if (pack.rows === 1) return [read(pack.id).subarray(at, at + bytes)];
      return Array.from({ length: pack.rows }, (_, i) => read(pack.id + i));
    };
  }

  clear(): void {
    this.#sql.exec('DELETE FROM pages');
    this.#sql.exec('DELETE FROM recent');
    this.#places.clear();
    this.#packs.clear();
    this.#bytes = 0;
  }

  #load(): void {
    const recent = this.#sql.exec<{ packs: string }>('SELECT packs FROM recent').toArray()[0];
    const order = new Map((recent ? (JSON.parse(recent.packs) as number[]) : []).map((id, i) => [id, i]));
    const packs: Pack[] = [];
    for (const { id, held } of this.#sql.exec<{ id: number; held: string | null }>('SELECT id, held FROM pages ORDER BY id')) {
      this.#next = id + 1;
      if (held === null) packs.at(-1)!.rows++;
      else packs.push(this.#add(id, 1, JSON.parse(held) as Held[]));
    }
    const age = (pack: Pack) => order.get(pack.id) ?? order.size + pack.id;
    for (const pack of packs.sort((a, b) => age(a) - age(b))) this.#packs.set(pack.id, pack);
  }

  #add(id: number, rows: number, held: readonly Held[]): Pack {
    const pack: Pack = { id, rows, bytes: 0, names: held.map(([name]) => name) };
    for (const [name, bytes, digest] of held) {
      this.#places.set(name, { pack, at: pack.bytes, bytes, digest });
      pack.bytes += bytes;
    }
    this.#bytes += pack.bytes;
    return pack;
  }

  /** One pack. */
  #write(frames: readonly Frame[]): void {
    const held = frames.map(({ name, digest, payload }): Held => [name, payload.byteLength, bytesToHex(digest)]);
    const data = frames.length === 1 ? frames[0]!.payload : concatBytes(...frames.map((f) => f.payload));
    const id = this.#next;
    for (let at = 0; at === 0 || at < data.byteLength; at += ROW_BYTES) {
      const first = at === 0 ? JSON.stringify(held) : null;
      const part = data.slice(at, at + ROW_BYTES); // a view would drag all of its buffer along
      this.#sql.exec('INSERT INTO pages (id, held, data) VALUES (?, ?, ?)', this.#next++, first, part);
      free(part);
    }
    if (frames.length > 1) free(data);
    this.#came = true;
    const pack = this.#add(id, this.#next - id, held);
    this.#packs.set(id, pack);
    if (pack.names.some((name) => this.#coming.names.has(name))) this.#coming.packs.add(id);
  }

  #drop(pack: Pack): void {
    this.#sql.exec('DELETE FROM pages WHERE id >= ? AND id < ?', pack.id, pack.id + pack.rows);
    for (const name of pack.names) this.#places.delete(name);
    this.#packs.delete(pack.id);
    this.#bytes -= pack.bytes;
  }

  /** Drops the oldest packs, for a page of the coming chain none of that chain. False when that does not suffice. */
  #makeRoom(bytes: number, ofChain: boolean): boolean {
    if (bytes > this.quota) return false;
    for (const pack of this.#packs.values()) {
      if (this.#bytes + bytes <= this.quota) break;
      if (!ofChain || !this.#coming.packs.has(pack.id)) this.#drop(pack);
    }
    return this.#bytes + bytes <= this.quota;
  }
}
