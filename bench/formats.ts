/**
 * Each weight format's product beside w4's, in turns in this process, so that other work on the machine troubles both alike: the quickest
 * quarter of the runs counts. Needs Node 22 or newer, whose V8 has relaxed SIMD.
 *
 *   npx tsx bench/formats.ts [q4_k mxfp4 …] [--tokens 1] [--shape 896x4864] [--rounds 60]
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ROOT } from '../cli/build.ts';
import type { WeightFormat } from '../engine/backend.ts';
import { fits, isPlanes, WEIGHT_FORMATS } from '../engine/formats.ts';
import { createWasm } from '../kernels/wasm/index.ts';
import { matmulCase } from '../tests/kernels/cases/matmul.ts';
import { describeMachine, machine } from './machine.ts';

const { values: o, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    ...{ tokens: { type: 'string', default: '1' }, shape: { type: 'string', default: '896x4864' } },
    ...{ rounds: { type: 'string', default: '60' } },
  },
});
const T = Number(o.tokens);
const [N, K] = o.shape.split('x').map(Number);
if (![T, N, K, Number(o.rounds)].every((n) => Number.isInteger(n) && n > 0))
  throw new Error('--tokens and --rounds are whole numbers, --shape is ROWSxCOLUMNS');
const known: readonly string[] = WEIGHT_FORMATS;
const unknown = positionals.filter((f) => !known.includes(f));
if (unknown.length > 0) throw new Error(`no format ${unknown.join(', ')}; there are ${known.join(', ')}`);
const formats = (positionals.length > 0 ? (positionals as WeightFormat[]) : WEIGHT_FORMATS.filter(isPlanes)).filter(
  (f) => f !== 'w4' && (!isPlanes(f) || fits(f, K)),
);

const WARM_MS = 150; // optimized code has come in by then
const TURN_MS = 0.6; // shorter than a slice of the scheduler

execFileSync(process.execPath, [join(ROOT, 'wasm/build.mjs')]);
const load = (name: string) => new WebAssembly.Module(readFileSync(join(ROOT, `.build/wasm/turnstone-${name}.wasm`)));
const modules = { simd: load('simd'), relaxed: load('relaxed') };
const contenders = (['w4', ...formats] as const).map((format) => {
  const c = matmulCase({ format, N, K, T, real: true });
  const { run } = c.prepare(createWasm({ modules, memoryBytes: c.memoryBytes }));
  for (const from = performance.now(); performance.now() - from < WARM_MS; ) run();
  return { format, macs: c.macs ?? 0, bytes: c.bytes ?? 0, run, ms: [] as number[] };
});
for (let round = 0; round < Number(o.rounds); round++) {
  for (const { run, ms } of contenders) {
    run(); // its weights are where this one leaves them
    for (const from = performance.now(); performance.now() - from < TURN_MS; ) {
      const began = performance.now();
      run();
      ms.push(performance.now() - began);
    }
  }
}
const quick = (ms: number[]): number => ms.sort((a, b) => a - b)[ms.length >> 2];
const w4 = { ms: quick(contenders[0].ms), bytes: contenders[0].bytes };
console.log(`${N} × ${K}, ${T} tokens; ${describeMachine(machine())}; V8 ${process.versions.v8}\n`);
console.log('format    G/s   GB/s   products, bytes a second of w4');
for (const { format, macs, bytes, ms } of contenders) {
  const took = quick(ms);
  const columns = [(macs / took / 1e6).toFixed(1).padStart(5), (bytes / took / 1e6).toFixed(1).padStart(6)];
  console.log(
    `${format.padEnd(7)} ${columns.join(' ')}   ${(w4.ms / took).toFixed(2)}  ${((bytes * w4.ms) / (w4.bytes * took)).toFixed(2)}`,
  );
}
