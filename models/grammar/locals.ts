import { BOTTOM, type Config, type Frame, type Machine } from './machine.ts';
import { ALPHABET } from './net.ts';
import { groupOf } from './trie.ts';

const GROUP = Uint8Array.from({ length: ALPHABET }, (_, symbol) => groupOf(symbol));

const UNKNOWN = -2;
const DEAD = -1;
/** All are forgotten between masks beyond this; a single mask that meets four times as many is given up. */
const MAX_LOCALS = 4_000;

/**
 * Configurations that a walk over the trie meets, numbered, with a table of successors: what a walk does at a node is one look-up.
 * Their outermost frame is BOTTOM, whatever lies below it; counters are clamped to what one token can tell apart.
 */
export class Locals {
  private readonly machine: Machine;
  private readonly ids = new Map<string, number>();
  private readonly frames = new Map<string, number>();
  private configs: Config[] = [];
  private table: Int32Array; // [locals, classes]
  /** Whether the rule may end here, and whether anything can follow inside it. */
  private flags = new Uint8Array(64);
  /** Groups of symbols that lead from a local back to itself, bit 16 once they are known. */
  private loops = new Int32Array(64);

  constructor(machine: Machine) {
    this.machine = machine;
    this.table = new Int32Array(64 * machine.program.classes);
  }

  get bytes(): number {
    return this.table.byteLength + this.configs.length * 300;
  }

  /** Forgets all; numbers given out before are void. */
  clear(): void {
    this.ids.clear();
    this.frames.clear();
    this.configs = [];
    this.table = new Int32Array(64 * this.machine.program.classes);
    this.flags = new Uint8Array(64);
    this.loops = new Int32Array(64);
  }

  full(): boolean {
    return this.configs.length > MAX_LOCALS;
  }

  exhausted(): boolean {
    return this.configs.length > 5 * MAX_LOCALS;
  }

  start(set: number, lo: number, hi: number): number {
    return this.id({ threads: [{ set, lo, hi, ups: [BOTTOM] }], accepting: false });
  }

  /** A frame's continuation. */
  resume(set: number, lo: number, hi: number): number {
    return this.id(this.machine.resume(set, lo, hi));
  }

  /** Negative: no such symbol may come. */
  next(local: number, cls: number): number {
    const known = this.table[local * this.machine.program.classes + cls];
    return known === UNKNOWN ? this.step(local, cls) : known;
  }

  accepting(local: number): boolean {
    return (this.flags[local] & 1) !== 0;
  }

  open(local: number): boolean {
    return (this.flags[local] & 2) !== 0;
  }

  /** Groups of symbols (`groupOf`) of which each leads back here: text of those alone changes nothing. */
  loopsOf(local: number): number {
    const known = this.loops[local];
    if (known !== 0) return known & 0xffff;
    const { classOf } = this.machine.program;
    let groups = 0xffff;
    for (let symbol = 0; symbol < ALPHABET; symbol++) {
      const bit = 1 << GROUP[symbol];
      if ((groups & bit) !== 0 && this.next(local, classOf[symbol]) !== local) groups &= ~bit;
    }
    this.loops[local] = groups | 0x10000;
    return groups;
  }

  private step(local: number, cls: number): number {
    const config = this.machine.step(this.configs[local], cls);
    const to = config ? this.id(config) : DEAD;
    this.table[local * this.machine.program.classes + cls] = to;
    return to;
  }

  private id(config: Config): number {
    let key = config.accepting ? 'a' : '';
    for (const t of config.threads) key += `/${t.set},${t.lo},${t.hi}:${t.ups.map((f) => this.frameId(f)).join()}`;
    const known = this.ids.get(key);
    if (known !== undefined) return known;
    const { classes } = this.machine.program;
    const id = this.configs.push(config) - 1;
    this.ids.set(key, id);
    if (id >= this.flags.length) {
      this.flags = grown(this.flags, new Uint8Array(2 * id));
      this.table = grown(this.table, new Int32Array(2 * id * classes));
      this.loops = grown(this.loops, new Int32Array(2 * id));
    }
    this.table.fill(UNKNOWN, id * classes, (id + 1) * classes);
    this.flags[id] = (config.accepting ? 1 : 0) | (config.threads.length > 0 ? 2 : 0);
    return id;
  }

  private frameId(f: Frame): number {
    if (f.id >= 0) return f.id;
    const key = `${f.set},${f.lo},${f.hi}:${f.ups.map((u) => this.frameId(u)).join()}`;
    f.id = this.frames.get(key) ?? this.frames.size + 1;
    this.frames.set(key, f.id);
    return f.id;
  }
}

function grown<T extends Uint8Array | Int32Array>(old: T, larger: T): T {
  larger.set(old);
  return larger;
}
