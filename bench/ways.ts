/**
 * What a core without AVX-VNNI has of the kernels: the same products in two processes of this Node, one with that instruction and one where V8 is
 * told not to use it. Throws when a bit differs. Processor time; needs Node 24 or newer, and a core that has AVX-VNNI.
 *
 * With --write into docs/performance/without-vnni.md, and docs/performance.md anew.
 *
 *   npx -y node@25 --import tsx bench/ways.ts [--rounds 7] [--N 896] [--K 4864] [--write]
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { build, ROOT } from '../cli/build.ts';
import { wasmModules } from '../cli/wasm.ts';
import { fits, isPlanes, WEIGHT_FORMATS } from '../engine/formats.ts';
import { createWasm } from '../kernels/wasm/index.ts';
import { attentionCase } from '../tests/kernels/cases/attention.ts';
import type { Case } from '../tests/kernels/cases/case.ts';
import { matmulCase } from '../tests/kernels/cases/matmul.ts';
import { describeMachine, machine } from './machine.ts';
import { render } from './publish.ts';
import { median } from './stats.ts';

const { values: o } = parseArgs({
  options: {
    ...{ rounds: { type: 'string', default: '7' }, N: { type: 'string', default: '896' }, K: { type: 'string', default: '4864' } },
    ...{ child: { type: 'boolean', default: false }, write: { type: 'boolean', default: false } },
  },
});
const WANTED_MS = 40; // of work in one measurement

interface Told {
  way: number;
  kernels: Record<string, { rate: number; bits: string }>;
}

const processor = () => Object.values(process.cpuUsage()).reduce((a, b) => a + b, 0) / 1000;

async function timed(c: Case, modules: Awaited<ReturnType<typeof wasmModules>>): Promise<{ rate: number; bits: string }> {
  const { run, read } = c.prepare(createWasm({ modules, memoryBytes: c.memoryBytes + (8 << 20) }));
  run();
  const hash = createHash('sha256');
  for (const { bytes } of await read()) hash.update(bytes);
  const times: number[] = [];
  for (let n = 1; times.length < Number(o.rounds); ) {
    const began = processor();
    for (let i = 0; i < n; i++) run();
    const ms = processor() - began;
    if (ms < WANTED_MS / 2) n = Math.ceil(Math.min(8 * n, (n * WANTED_MS) / Math.max(ms, 0.1)));
    else times.push(ms / n);
  }
  return { rate: (c.macs ?? 0) / median(times) / 1e6, bits: hash.digest('hex') };
}

/** What this process has: the same products and attention, each timed, and a digest of what it gave. */
async function tell(): Promise<Told> {
  const modules = await wasmModules();
  if (!modules.relaxed) throw new Error('this Node has no relaxed SIMD');
  const probe = new WebAssembly.Instance(modules.relaxed, { env: { memory: new WebAssembly.Memory({ initial: 64 }) } });
  const told: Told = { way: (probe.exports as unknown as { dotAdd(): number }).dotAdd(), kernels: {} };
  const [N, K] = [Number(o.N), Number(o.K)];
  for (const format of WEIGHT_FORMATS) {
    if (format === 'f32' || (isPlanes(format) && !fits(format, K))) continue;
    for (const T of [1, 8, 128]) told.kernels[`${format}, ${T}`] = await timed(matmulCase({ format, N, K, T, real: true }), modules);
  }
  const attention = { format: 'i8', out: 'i8', H: 9, G: 3, d: 64 } as const;
  told.kernels['attention, 1 after 1,023'] = await timed(attentionCase({ ...attention, spans: [[1023, 1]] }), modules);
  told.kernels['attention, 128'] = await timed(attentionCase({ ...attention, spans: [[0, 128]] }), modules);
  return told;
}

function inProcess(flag: string): Told {
  const script = fileURLToPath(import.meta.url);
  const args = [flag, '--import', 'tsx', script, '--child', '--rounds', o.rounds, '--N', o.N, '--K', o.K];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`node ${flag} ended with ${status}: ${stderr}`);
  return JSON.parse(stdout) as Told;
}

async function compare(): Promise<void> {
  await build(undefined, ['wasm']);
  const flag = 'enable-avx-vnni';
  const [on, off] = [inProcess(`--${flag}`), inProcess(`--no-${flag}`)];
  if (on.way !== 129540 || off.way !== 65534) {
    throw new Error(
      `dot-add gives ${on.way} with AVX-VNNI and ${off.way} without: this Node (V8 ${process.versions.v8}) or this core has one of them only`,
    );
  }
  const rows = Object.entries(on.kernels).map(([name, { rate, bits }]) => {
    const other = off.kernels[name];
    if (other.bits !== bits) throw new Error(`${name}: the bits differ`);
    return `| ${name} | ${rate.toFixed(1)} | ${other.rate.toFixed(1)} | ${(rate / other.rate).toFixed(2)} |`;
  });
  const about = `\`npx -y node@25 --import tsx bench/ways.ts\`: [${o.N}, ${o.K}], G multiply-adds a second of processor time. ${describeMachine(machine())}; V8 ${process.versions.v8}.`;
  const table = ['| format, tokens | with AVX-VNNI | without | ratio |', '| --- | ---: | ---: | ---: |', ...rows].join('\n');
  console.log(`${table}\n\n${about}`);
  if (!o.write) return;
  const text =
    'The same products where V8 is told not to use that instruction (`--no-enable-avx-vnni`), as a core without it has them. Every bit is the same.';
  writeFileSync(join(ROOT, 'docs/performance/without-vnni.md'), `## Without AVX-VNNI\n\n${text}\n\n${table}\n\n${about}\n`);
  render();
}

if (o.child) console.log(JSON.stringify(await tell()));
else await compare();
