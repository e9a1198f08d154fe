import { GrammarError } from './limits.ts';
import { ALPHABET, EXIT, INC, type Net, type Rule } from './net.ts';

/** A list for each state, end to end: that of state s is data[at[s]] to data[at[s + 1] - 1]. */
export interface Lists {
  readonly at: Int32Array; // [states + 1]
  readonly data: Int32Array;
}

/** A trimmed, frozen net: every state that is left can still reach the end of its rule. */
export interface Program {
  /** Class lo, class hi, to, tag. Symbols that no arc tells apart share a class. */
  readonly arcs: Lists;
  readonly silent: Lists;
  /** Rule, to. */
  readonly calls: Lists;
  readonly rules: readonly Rule[];
  readonly isEnd: Uint8Array;
  /** Rules that match the empty text. */
  readonly nullable: Uint8Array;
  readonly classOf: Uint8Array; // [ALPHABET]
  readonly classes: number;
  readonly root: number;
}

/** Freezes a net. Throws when nothing matches `root`, or when a rule calls itself before any symbol (left recursion). */
export function compileNet(net: Net, root: number): Program {
  const live = productive(net);
  if (!live[net.rules[root].start]) {
    const lacking = [...net.lacking].filter((c) => c < 0x80).map((c) => `0x${c.toString(16).padStart(2, '0')}`);
    const spelt = lacking.length > 0 ? ` that the model can spell: its vocabulary has no token for ${lacking.slice(0, 8).join(', ')}` : '';
    throw new GrammarError('', '', spelt === '' ? 'no value satisfies this schema' : `no value satisfies this schema${spelt}`);
  }
  const nullable = nullableRules(net, live);
  refuseLeftRecursion(net, live, nullable);

  const edge = new Uint8Array(ALPHABET + 1);
  edge[0] = 1;
  net.arcs.forEach((a, s) => {
    if (!live[s]) return;
    for (let i = 0; i < a.length; i += 4) {
      if (!live[a[i + 2]]) continue;
      edge[a[i]] = 1;
      edge[a[i + 1] + 1] = 1;
    }
  });
  const classOf = new Uint8Array(ALPHABET);
  let classes = 0;
  for (let c = 0; c < ALPHABET; c++) {
    if (edge[c]) classes++;
    classOf[c] = classes - 1;
  }

  const isEnd = new Uint8Array(net.arcs.length);
  for (const r of net.rules) isEnd[r.end] = 1;
  const lists = (of: readonly number[][], keep: (list: readonly number[], out: number[]) => void): Lists => {
    const at = new Int32Array(of.length + 1);
    const data: number[] = [];
    of.forEach((list, s) => {
      at[s] = data.length;
      if (live[s]) keep(list, data);
    });
    at[of.length] = data.length;
    return { at, data: Int32Array.from(data) };
  };
  return {
    arcs: lists(net.arcs, (a, out) => {
      for (let i = 0; i < a.length; i += 4) if (live[a[i + 2]]) out.push(classOf[a[i]], classOf[a[i + 1]], a[i + 2], a[i + 3]);
    }),
    silent: lists(net.silent, (list, out) => {
      for (const t of list) if (live[t]) out.push(t);
    }),
    calls: lists(net.calls, (list, out) => {
      for (let i = 0; i < list.length; i += 2) if (live[list[i + 1]] && live[net.rules[list[i]].start]) out.push(list[i], list[i + 1]);
    }),
    rules: net.rules,
    isEnd,
    nullable,
    classOf,
    classes,
    root,
  };
}

/** States from which the end of their rule can be reached. A counted rule that must count but has no live INC arc loses its EXIT arcs. */
function productive(net: Net): Uint8Array {
  const blocked = new Set<number>(); // targets of EXIT arcs that can never be taken
  for (;;) {
    const live = backward(net, blocked);
    let changed = false;
    for (const r of net.rules) {
      if (!r.count || r.count.lo === 0 || !live[r.start]) continue;
      const inside = reach(net, r.start);
      const counts = inside.some((s) => live[s] && tagged(net, s, INC).some((t) => live[t]));
      if (counts) continue;
      for (const s of inside) {
        for (let i = 0; i < net.arcs[s].length; i += 4) {
          if (net.arcs[s][i + 3] === EXIT && !blocked.has(s * 4096 + i)) {
            blocked.add(s * 4096 + i);
            changed = true;
          }
        }
      }
    }
    if (!changed) return live;
  }
}

function tagged(net: Net, s: number, tag: number): number[] {
  const out: number[] = [];
  for (let i = 0; i < net.arcs[s].length; i += 4) if (net.arcs[s][i + 3] === tag) out.push(net.arcs[s][i + 2]);
  return out;
}

/** States of one rule. */
function reach(net: Net, start: number): number[] {
  const seen = new Set([start]);
  const list = [start];
  for (const s of list) {
    const visit = (t: number) => {
      if (!seen.has(t)) list.push(t);
      seen.add(t);
    };
    for (let i = 0; i < net.arcs[s].length; i += 4) visit(net.arcs[s][i + 2]);
    net.silent[s].forEach(visit);
    for (let i = 0; i < net.calls[s].length; i += 2) visit(net.calls[s][i + 1]);
  }
  return list;
}

function backward(net: Net, blocked: ReadonlySet<number>): Uint8Array {
  const n = net.arcs.length;
  const live = new Uint8Array(n);
  const preds: number[][] = Array.from({ length: n }, () => []);
  const callsInto: number[][] = Array.from({ length: n }, () => []); // flat: from, rule
  const callsOf: number[][] = net.rules.map(() => []); // flat: from, to
  const ruleAt = new Map(net.rules.map((r, i) => [r.start, i]));
  for (let s = 0; s < n; s++) {
    for (let i = 0; i < net.arcs[s].length; i += 4) if (!blocked.has(s * 4096 + i)) preds[net.arcs[s][i + 2]].push(s);
    for (const t of net.silent[s]) preds[t].push(s);
    for (let i = 0; i < net.calls[s].length; i += 2) {
      callsInto[net.calls[s][i + 1]].push(s, net.calls[s][i]);
      callsOf[net.calls[s][i]].push(s, net.calls[s][i + 1]);
    }
  }
  const queue: number[] = [];
  const mark = (s: number) => {
    if (live[s]) return;
    live[s] = 1;
    queue.push(s);
  };
  for (const r of net.rules) mark(r.end);
  for (let s = queue.pop(); s !== undefined; s = queue.pop()) {
    preds[s].forEach(mark);
    for (let i = 0; i < callsInto[s].length; i += 2) if (live[net.rules[callsInto[s][i + 1]].start]) mark(callsInto[s][i]);
    const rule = ruleAt.get(s);
    if (rule === undefined) continue;
    for (let i = 0; i < callsOf[rule].length; i += 2) if (live[callsOf[rule][i + 1]]) mark(callsOf[rule][i]);
  }
  return live;
}

/** Visits what `start` reaches without reading a symbol, through rules already known to be nullable. */
function silentReach(net: Net, live: Uint8Array, nullable: Uint8Array, start: number): number[] {
  const seen = new Set([start]);
  const list = [start];
  for (const s of list) {
    const visit = (t: number) => {
      if (live[t] && !seen.has(t)) list.push(t);
      seen.add(t);
    };
    net.silent[s].forEach(visit);
    for (let i = 0; i < net.calls[s].length; i += 2) if (nullable[net.calls[s][i]]) visit(net.calls[s][i + 1]);
  }
  return list;
}

function nullableRules(net: Net, live: Uint8Array): Uint8Array {
  const nullable = new Uint8Array(net.rules.length);
  for (let changed = true; changed; ) {
    changed = false;
    net.rules.forEach((r, i) => {
      if (nullable[i] || !live[r.start] || !silentReach(net, live, nullable, r.start).includes(r.end)) return;
      nullable[i] = 1;
      changed = true;
    });
  }
  return nullable;
}

function refuseLeftRecursion(net: Net, live: Uint8Array, nullable: Uint8Array): void {
  const first = net.rules.map((r) => {
    const out = new Set<number>();
    for (const s of silentReach(net, live, nullable, r.start)) for (let i = 0; i < net.calls[s].length; i += 2) out.add(net.calls[s][i]);
    return out;
  });
  const done = new Uint8Array(first.length); // 1 on the path, 2 finished
  for (let root = 0; root < first.length; root++) {
    const path: { rule: number; todo: number[] }[] = done[root] ? [] : [{ rule: root, todo: [...first[root]] }];
    done[root] ||= 1;
    while (path.length > 0) {
      const top = path[path.length - 1];
      const next = top.todo.pop();
      if (next === undefined) {
        done[top.rule] = 2;
        path.pop();
      } else if (done[next] === 1) {
        throw new GrammarError('', '', 'a rule calls itself before any text (a $ref cycle, or left recursion)');
      } else if (done[next] === 0) {
        done[next] = 1;
        path.push({ rule: next, todo: [...first[next]] });
      }
    }
  }
}
