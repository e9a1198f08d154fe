import { GrammarError, LIMITS } from './limits.ts';
import { EXIT, INC, INF } from './net.ts';
import type { Lists, Program } from './program.ts';

/**
 * Runs a program over symbols. Positions are sets of states, determinized as they are met; what is open is a graph-structured stack, so
 * that ambiguous grammars cost no more than their distinct state sets (Scott and Johnstone's GSS, restricted to one position a step).
 */
export interface Frame {
  /** Where the caller goes on: set and counter, and what is open below. */
  readonly set: number;
  readonly lo: number;
  readonly hi: number;
  readonly ups: readonly Frame[];
  /** Identity for hashing, given by `Masks`. */
  id: number;
}

export interface Thread {
  readonly set: number;
  /** INC arcs still needed, and still allowed. */
  readonly lo: number;
  readonly hi: number;
  readonly ups: Frame[];
}

/** Where a text stands. Immutable once made, so a clone is a reference. */
export interface Config {
  readonly threads: readonly Thread[];
  /** The text so far is complete. */
  readonly accepting: boolean;
}

/** Below the outermost rule. */
export const BOTTOM: Frame = { set: -1, lo: 0, hi: 0, ups: [], id: 0 };

interface Push {
  start: number;
  lo: number;
  hi: number;
  back: number;
}

interface StateSet {
  states: Int32Array;
  final: boolean;
  hasArcs: boolean;
  /** By class: 0 unknown, -1 dead, else 1 + (set << 2 | tag). */
  row: Int32Array;
  pushes: Push[] | undefined;
}

const has = (l: Lists, s: number) => l.at[s + 1] > l.at[s];
const less = (x: number) => (x === INF ? INF : x - 1);

export class Machine {
  readonly program: Program;
  readonly sets: StateSet[] = [];
  /** Elementary steps so far: grows by the states looked at when a set is first stepped. */
  work = 0;
  private readonly ids = new Map<string, number>();
  /** By state: the set of what is reached from it alone. */
  private readonly closed = new Map<number, number>();

  constructor(program: Program) {
    this.program = program;
  }

  start(): Config {
    const { rules, root } = this.program;
    const next = new Builder(this);
    const count = rules[root].count;
    next.enter({ start: this.close([rules[root].start]), lo: count?.lo ?? 0, hi: count?.hi ?? INF, back: -1 }, BOTTOM);
    return next.finish();
  }

  /** A frame on its own, as if it were the outermost. */
  resume(set: number, lo: number, hi: number): Config {
    const next = new Builder(this);
    next.add(set, lo, hi, BOTTOM);
    return next.finish();
  }

  /** The configuration after a symbol of this class, or null when it may not come. */
  step(config: Config, cls: number): Config | null {
    const next = new Builder(this);
    for (const t of config.threads) {
      const v = this.arc(t.set, cls);
      if (v < 0) continue;
      const tag = v & 3;
      let { lo, hi } = t;
      if (tag === INC) {
        if (hi === 0) continue;
        hi = less(hi);
        lo = lo === 0 ? 0 : less(lo);
      } else if (tag === EXIT && lo > 0) continue;
      for (const up of t.ups) next.add(v >> 2, lo, hi, up);
    }
    return next.empty() ? null : next.finish();
  }

  /** Where a class leads: set << 2 | tag, or -1. */
  arc(set: number, cls: number): number {
    const { row, states } = this.sets[set];
    if (row[cls] === 0) {
      if (states.length === 1) this.fillRow(row, states[0]);
      if (row[cls] === 0) this.fillClass(row, states, cls);
    }
    return row[cls] < 0 ? -1 : row[cls] - 1;
  }

  /** All classes of a single state at once, but those of which several arcs tell. */
  private fillRow(row: Int32Array, state: number): void {
    const { at, data } = this.program.arcs;
    this.work += 1 + ((at[state + 1] - at[state]) >> 2);
    const told = new Uint8Array(row.length);
    for (let i = at[state]; i < at[state + 1]; i += 4) for (let c = data[i]; c <= data[i + 1]; c++) told[c] = Math.min(told[c] + 1, 2);
    for (let c = 0; c < row.length; c++) if (told[c] === 0) row[c] = -1;
    for (let i = at[state]; i < at[state + 1]; i += 4) {
      let way = 0;
      for (let c = data[i]; c <= data[i + 1]; c++) if (told[c] === 1) row[c] = way ||= 1 + ((this.close([data[i + 2]]) << 2) | data[i + 3]);
    }
  }

  private fillClass(row: Int32Array, states: Int32Array, cls: number): void {
    const { at, data } = this.program.arcs;
    const to: number[] = [];
    let tag = 0;
    for (const s of states) {
      this.work += 1 + ((at[s + 1] - at[s]) >> 2);
      for (let i = at[s]; i < at[s + 1]; i += 4) {
        if (cls < data[i] || cls > data[i + 1]) continue;
        if (to.length > 0 && data[i + 3] !== tag) throw new Error('grammar: one symbol both counts and does not');
        tag = data[i + 3];
        to.push(data[i + 2]);
      }
    }
    row[cls] = to.length === 0 ? -1 : 1 + ((this.close(to) << 2) | tag);
  }

  /** The set of states reached from these without reading, interned. */
  private close(from: readonly number[]): number {
    if (from.length !== 1) return this.closure(from);
    const known = this.closed.get(from[0]) ?? this.closure(from);
    this.closed.set(from[0], known);
    return known;
  }

  private closure(from: readonly number[]): number {
    const { silent, calls, nullable, isEnd, arcs } = this.program;
    const seen = new Set<number>(from);
    const list = [...seen];
    for (const s of list) {
      const visit = (t: number) => {
        if (seen.has(t)) return;
        seen.add(t);
        list.push(t);
      };
      for (let i = silent.at[s]; i < silent.at[s + 1]; i++) visit(silent.data[i]);
      for (let i = calls.at[s]; i < calls.at[s + 1]; i += 2) if (nullable[calls.data[i]]) visit(calls.data[i + 1]);
      this.work += 1 + silent.at[s + 1] - silent.at[s];
    }
    const states = Int32Array.from(list.filter((s) => isEnd[s] || has(arcs, s) || has(calls, s))).sort();
    const key = states.join();
    const known = this.ids.get(key);
    if (known !== undefined) return known;
    const id = this.sets.length;
    if (id >= LIMITS.sets)
      throw new GrammarError('', '', `the grammar grew beyond ${LIMITS.sets} state sets; make the schema less ambiguous`);
    this.ids.set(key, id);
    this.sets.push({
      states,
      final: states.some((s) => isEnd[s] === 1),
      hasArcs: states.some((s) => has(arcs, s)),
      row: new Int32Array(this.program.classes),
      pushes: undefined,
    });
    return id;
  }

  /** The rules this set may enter. Uncounted rules with one way back become one; a counted rule keeps a counter of its own. */
  pushes(set: number): readonly Push[] {
    const known = this.sets[set].pushes;
    if (known) return known;
    const { calls, rules } = this.program;
    const backs = new Map<number, Set<number>>(); // rule → states to return to
    for (const s of this.sets[set].states) {
      for (let i = calls.at[s]; i < calls.at[s + 1]; i += 2) {
        const list = backs.get(calls.data[i]) ?? new Set<number>();
        backs.set(calls.data[i], list.add(calls.data[i + 1]));
      }
    }
    const merged = new Map<number, number[]>(); // way back → starts
    const out: Push[] = [];
    for (const [rule, to] of backs) {
      const back = this.close([...to]);
      const { start, count } = rules[rule];
      if (count) out.push({ start: this.close([start]), lo: count.lo, hi: count.hi, back });
      else merged.set(back, [...(merged.get(back) ?? []), start]);
    }
    for (const [back, starts] of merged) out.push({ start: this.close(starts), lo: 0, hi: INF, back });
    this.sets[set].pushes = out;
    return out;
  }
}

/** One configuration in the making: threads merge when set and counter agree; their stacks are then alternatives. */
class Builder {
  private readonly machine: Machine;
  private readonly threads: Thread[] = [];
  private accepting = false;

  constructor(machine: Machine) {
    this.machine = machine;
  }

  empty(): boolean {
    return this.threads.length === 0 && !this.accepting;
  }

  /** A thread after a symbol; one that stands at the end of its rule also goes on in its callers. */
  add(set: number, lo: number, hi: number, up: Frame): void {
    if (!this.join(set, lo, hi, up) || !this.machine.sets[set].final) return;
    if (up === BOTTOM) this.accepting = true;
    else for (const below of up.ups) this.add(up.set, up.lo, up.hi, below);
  }

  /** A rule entered before its first symbol. */
  enter(p: Push, up: Frame): void {
    this.join(p.start, p.lo, p.hi, up);
    if (up === BOTTOM && this.machine.sets[p.start].final) this.accepting = true;
  }

  private join(set: number, lo: number, hi: number, up: Frame): boolean {
    this.machine.work++;
    const known = this.threads.find((t) => t.set === set && t.lo === lo && t.hi === hi);
    if (!known) this.threads.push({ set, lo, hi, ups: [up] });
    else if (known.ups.some((f) => sameFrame(f, up))) return false;
    else known.ups.push(up);
    return true;
  }

  finish(): Config {
    for (let i = 0; i < this.threads.length; i++) {
      const t = this.threads[i];
      for (const p of this.machine.pushes(t.set)) this.enter(p, { set: p.back, lo: t.lo, hi: t.hi, ups: t.ups, id: -1 });
    }
    return { threads: this.threads.filter((t) => this.machine.sets[t.set].hasArcs), accepting: this.accepting };
  }
}

function sameFrame(a: Frame, b: Frame): boolean {
  if (a === b) return true;
  return a.set === b.set && a.lo === b.lo && a.hi === b.hi && a.ups.length === b.ups.length && a.ups.every((u, i) => u === b.ups[i]);
}
