import { BOTTOM, type Config, type Frame, type Machine, type Thread } from './machine.ts';
import { EXIT, INC, INF } from './net.ts';
import { NONE, type Run, type Runs } from './runs.ts';

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
  private readonly runs: Runs;
  private readonly ids = new Map<string, number>();
  private readonly frames = new Map<string, number>();
  private readonly threads = new Map<number, number>();
  private configs: Config[] = [];
  private table: Int32Array; // [locals, classes]
  /** Whether the rule may end here, and whether anything can follow inside it. */
  private flags = new Uint8Array(64);
  private readonly found = new Map<number, Run>();

  constructor(machine: Machine, runs: Runs) {
    this.machine = machine;
    this.runs = runs;
    this.table = new Int32Array(64 * machine.program.classes);
  }

  get bytes(): number {
    return this.table.byteLength + this.configs.length * 300;
  }

  /** Forgets all; numbers given out before are void. */
  clear(): void {
    this.ids.clear();
    this.frames.clear();
    this.threads.clear();
    this.configs = [];
    this.table = new Int32Array(64 * this.machine.program.classes);
    this.flags = new Uint8Array(64);
    this.found.clear();
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

  /** The run from here. `called`: where the rule may end matters. */
  run(local: number, called: boolean): Run {
    const key = 2 * local + (called ? 1 : 0);
    const known = this.found.get(key);
    if (known) return known;
    const t = single(this.configs[local]);
    const run = t ? this.runs.of(t.set, t.hi, called) : NONE;
    this.found.set(key, run);
    return run;
  }

  /** Whether a counter that is not at its end may be the only thing that tells this local from another. */
  counted(local: number): boolean {
    return (this.flags[local] & 4) !== 0;
  }

  /** One that the next `symbols` symbols cannot tell from this: counters that they do not bring to an end do not matter. */
  relaxed(local: number, symbols: number): number {
    const { set, lo, hi } = this.configs[local].threads[0];
    const least = lo >= symbols && lo > 0 ? INF : lo;
    const most = hi >= symbols ? INF : hi;
    return least === lo && most === hi ? local : this.alone(set, least, most);
  }

  private step(local: number, cls: number): number {
    const thread = single(this.configs[local]);
    let to = thread ? this.stepAlone(thread, cls) : UNKNOWN;
    if (to === UNKNOWN) {
      const config = this.machine.step(this.configs[local], cls);
      to = config ? this.id(config) : DEAD;
    }
    this.table[local * this.machine.program.classes + cls] = to;
    return to;
  }

  /** What `Machine.step` gives for one thread that comes to where no rule is entered, without making it; UNKNOWN elsewhere. */
  private stepAlone({ set, lo, hi }: Thread, cls: number): number {
    this.machine.work++;
    const way = this.machine.arc(set, cls);
    const tag = way & 3;
    if (way < 0 || (tag === INC && hi === 0) || (tag === EXIT && lo > 0)) return DEAD;
    const to = way >> 2;
    if (this.machine.pushes(to).length > 0 || !within(lo) || !within(hi)) return UNKNOWN;
    if (tag !== INC) return this.alone(to, lo, hi);
    return this.alone(to, lo === 0 || lo === INF ? lo : lo - 1, hi === INF ? hi : hi - 1);
  }

  /** One thread in a set where no rule is entered. */
  private alone(set: number, lo: number, hi: number): number {
    const key = (set * 512 + Math.min(lo, 511)) * 512 + Math.min(hi, 511);
    const known = this.threads.get(key);
    if (known !== undefined) return known;
    const { final, hasArcs } = this.machine.sets[set];
    const id = this.id({ threads: hasArcs ? [{ set, lo, hi, ups: [BOTTOM] }] : [], accepting: final });
    this.threads.set(key, id);
    return id;
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
    }
    this.table.fill(UNKNOWN, id * classes, (id + 1) * classes);
    const t = single(config);
    const counted =
      t && within(t.lo) && within(t.hi) && (t.hi !== INF || (t.lo !== INF && t.lo > 0)) && this.machine.pushes(t.set).length === 0;
    this.flags[id] = (config.accepting ? 1 : 0) | (config.threads.length > 0 ? 2 : 0) | (counted ? 4 : 0);
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

/** The one thread of a configuration that is in the outermost rule alone. */
function single({ threads }: Config): Thread | undefined {
  return threads.length === 1 && threads[0].ups.length === 1 && threads[0].ups[0] === BOTTOM ? threads[0] : undefined;
}

/** A counter that `stepAlone` can write in nine bits. */
const within = (count: number) => count < 511 || count === INF;

function grown<T extends Uint8Array | Int32Array>(old: T, larger: T): T {
  larger.set(old);
  return larger;
}
