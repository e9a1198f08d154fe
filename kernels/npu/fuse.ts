import type { NpuBuf } from './buffers.ts';
import { type Command, matmulCommand, type TimedNumbers } from './commands.ts';
import type { Machine } from './run/machine.ts';

/**
 * Looks at a run of commands for norm → matmul → swiglu (any part of it) and returns how to run what starts at `i`:
 * the command, how many it stands for, and the buffers it no longer fills. Fused only where nothing later in the list
 * reads what would be left out, and where the device's timeline is shorter for it.
 */
export function fuse(
  machine: Machine,
  list: readonly Command[],
  i: number,
  as?: TimedNumbers,
): { command: Command; length: number; left: NpuBuf[] } {
  const { fuseNorm, fuseSwiglu } = machine.options;
  const first = list[i];
  const alone = { command: first, length: 1, left: [] as NpuBuf[] };
  const norm = fuseNorm ? first.norm : undefined;
  const at = norm ? i + 1 : i;
  const mm = list[at]?.matmul;
  if (!mm) return alone;
  const normed = norm && norm.out === mm.x.data && norm.n === mm.T && deadAfter(list, at + 1, norm.out) ? norm : undefined;
  if (norm && !normed) return alone;
  const next = list[at + 1]?.swiglu;
  const fits = next && next.x === mm.y && next.T === mm.T && 2 * next.F === mm.w.N && !mm.bias && !mm.accumulate;
  const gated = fuseSwiglu && fits && next.F % 32 === 0 && deadAfter(list, at + 2, mm.y) ? next : undefined;

  const time = (c: Command): number => machine.time(c.op()).us;
  const plain = (normed ? time(first) : 0) + time(list[at]);
  let best = { ...alone, us: plain + (gated ? time(list[at + 1]) : 0) };
  const offer = (n: typeof normed, g: typeof gated, extra: number): void => {
    let command: Command;
    let us: number;
    try {
      command = matmulCommand(mm, n, g, as);
      us = time(command) + extra;
    } catch (e) {
      if (e instanceof Error && e.name === 'SramError') return;
      throw e;
    }
    if (us >= best.us) return;
    const left = [...(n ? [n.out] : []), ...(g ? [mm.y] : [])];
    best = { command, length: (n ? 1 : 0) + 1 + (g ? 1 : 0), left, us };
  };
  if (normed && gated) offer(normed, gated, 0);
  if (normed) offer(normed, undefined, gated ? time(list[at + 1]) : 0);
  if (gated && !normed) offer(undefined, gated, 0);
  return best;
}

/** Whether nothing from command `from` on reads the buffer before it is written again. What outlives the list is refused when it is used. */
function deadAfter(list: readonly Command[], from: number, buf: NpuBuf): boolean {
  for (let i = from; i < list.length; i++) {
    if (list[i].reads.includes(buf)) return false;
    if (list[i].writes.includes(buf)) return true;
  }
  return true;
}
