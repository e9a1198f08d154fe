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
  /** The fused command and its time; infinite when it does not fit SRAM. */
  const fused = (n: typeof normed, g: typeof gated): { command: Command; us: number } => {
    const command = matmulCommand(mm, n, g, as);
    try {
      return { command, us: time(command) };
    } catch (e) {
      if (e instanceof Error && e.name === 'SramError') return { command, us: Number.POSITIVE_INFINITY };
      throw e;
    }
  };
  // what the gate costs when the matmul does not take it along, and the best that the matmul can be without its norm
  const gate = gated ? time(list[at + 1]) : 0;
  const bare = time(list[at]) + gate;
  const withGate = gated ? fused(undefined, gated) : undefined;
  if (!normed) return withGate && withGate.us < bare ? { command: withGate.command, length: 2, left: [mm.y] } : alone;

  const apart = time(first) + Math.min(bare, withGate?.us ?? bare);
  const both = gated ? fused(normed, gated) : undefined;
  const withNorm = fused(normed, undefined);
  if (both && both.us < Math.min(apart, withNorm.us + gate)) return { command: both.command, length: 3, left: [normed.out, mm.y] };
  return withNorm.us + gate < apart ? { command: withNorm.command, length: 2, left: [normed.out] } : alone;
}

/** Whether nothing from command `from` on reads the buffer before it is written again. What outlives the list is refused when it is used. */
function deadAfter(list: readonly Command[], from: number, buf: NpuBuf): boolean {
  for (let i = from; i < list.length; i++) {
    if (list[i].reads.includes(buf)) return false;
    if (list[i].writes.includes(buf)) return true;
  }
  return true;
}
