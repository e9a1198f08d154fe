import type { SchemaBuilder } from './build.ts';
import { itemNodes } from './check.ts';
import type { Flat } from './flat.ts';
import { EXIT, INC, INF } from './net.ts';

/** The rule of an array: `[`, items with ", " between, `]`. Items past the prefix are counted, not written out. */
export function arrayRule(b: SchemaBuilder, f: Flat): number {
  const { net } = b;
  const { min, max } = f.array;
  const prefix = Math.max(0, ...f.array.parts.map((p) => p.prefix.length));
  const entered = Math.max(prefix, 1); // items read when the counted loop begins
  const counted = min > entered || max !== Infinity;
  const rule = net.rule(counted ? { lo: Math.max(0, min - entered), hi: max === Infinity ? INF : Math.max(0, max - entered) } : undefined);
  const { start, end } = net.rules[rule];
  const close = (from: number, tag: number) => net.arc(from, 0x5d, 0x5d, end, tag);
  let at = net.state();
  net.arc(start, 0x5b, 0x5b, at);
  for (let i = 0; i < entered && i < max; i++) {
    if (i >= min) close(at, 0);
    const ready = i === 0 ? at : net.state();
    if (i > 0) net.text(', ')(at, ready);
    const done = net.state();
    net.call(ready, b.rule(itemNodes(f, i)), done);
    at = done;
  }
  if (max < entered) {
    if (max >= min) close(at, 0);
    return rule;
  }
  const next = net.state();
  net.text(', ', counted ? INC : 0)(at, next);
  net.call(next, b.rule(itemNodes(f, entered)), at);
  close(at, counted ? EXIT : 0);
  return rule;
}
