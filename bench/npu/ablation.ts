/**
 * What each idea of the compiler brings: device time of a prefill with it and without, and over 1 to 8 chips. Writes the
 * table into docs/npu.md between its marks.
 *
 *   npx tsx bench/npu/ablation.ts
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type DeviceSpec, device } from '../../kernels/npu/device/index.ts';
import { compile, defaults, type Op } from '../../kernels/npu/ops/index.ts';
import { allGatherUs } from '../../kernels/npu/run/links.ts';
import { boundCycles, schedule } from '../../kernels/npu/run/schedule.ts';
import { modelShapes } from '../../npu/shapes.ts';
import { type SimulateRequest, simulate } from '../../npu/simulate.ts';

const docs = fileURLToPath(new URL('../../docs/npu.md', import.meta.url));
const PROMPTS = [128, 1024, 8192];

const variants: [string, NonNullable<SimulateRequest['options']>][] = [
  ['all on, 1 chip', {}],
  ['no double buffering', { doubleBuffer: false }],
  ['no multicast', { multicast: false }],
  ['no fused norm', { fuseNorm: false }],
  ['no fused SwiGLU', { fuseSwiglu: false }],
  ['no fusion', { fuseNorm: false, fuseSwiglu: false }],
  ['2 chips', { chips: 2 }],
  ['4 chips', { chips: 4 }],
  ['8 chips', { chips: 8 }],
  ['8 chips, reduce-scatter', { chips: 8, collective: 'reduce-scatter' }],
];

const ms = (us: number): string => (us / 1000).toFixed(us < 10_000 ? 2 : 1);

function ablation(): string {
  const out: string[] = [];
  for (const [model, numbers] of [
    ['smollm2-135m', 'w4'],
    ['llama-3-8b', 'bf16'],
  ] as const) {
    out.push(
      `**${model}**, ${numbers === 'w4' ? 'w4 as exact-1 computes it' : 'BF16, timed only'}, on maia-200; device time in ms (and how many times the first row's)`,
      '',
    );
    out.push(`| | ${PROMPTS.map((p) => `${p} tokens`).join(' | ')} |`, `| --- |${' ---: |'.repeat(PROMPTS.length)}`);
    const base: number[] = [];
    for (const [name, options] of variants) {
      const cells = PROMPTS.map((prompt, i) => {
        const { us } = simulate({ device: device('maia-200'), model: modelShapes[model], prompt, numbers, options });
        base[i] ??= us;
        return `${ms(us)} (${(us / base[i]).toFixed(2)})`;
      });
      console.log(model, name, cells.join('  '));
      out.push(`| ${name} | ${cells.join(' | ')} |`);
    }
    out.push('');
  }
  return out.join('\n');
}

const gemm = (T: number, N: number, K: number, format: 'bf16' | 'fp8'): Op => ({
  ...{ kind: 'matmul', T, N, K, format, bias: false, accumulate: false, swiglu: false, out: 'bf16' },
});

/** Best fraction of the bound over some shapes, and the shape. */
function best(d: DeviceSpec, format: 'bf16' | 'fp8', shapes: readonly (readonly [number, number, number])[]): [number, string] {
  const e = format === 'bf16' ? 2 : 1;
  return shapes
    .map(([T, N, K]): [number, string] => {
      const bound = boundCycles(d, T * N * K, format, (T + N) * K * e + T * N * 2);
      return [bound / schedule(d, compile(d, gemm(T, N, K, format), defaults)).cycles, `${T} x ${N} x ${K}`];
    })
    .reduce((a, b) => (b[0] > a[0] ? b : a));
}

function published(): string {
  const d = device('maia-200');
  const big = [
    [4096, 4096, 4096],
    [8192, 8192, 8192],
    [16384, 16384, 8192],
    [16384, 16384, 16384],
  ] as const;
  const thin = [
    [1, 8192, 8192],
    [16, 8192, 8192],
    [64, 8192, 8192],
    [64, 16384, 8192],
    [16, 16384, 16384],
  ] as const;
  const gather = (R: number): number => Math.max(4, R / 1.4e6) / allGatherUs(d, 8, (R * 8) / 7);
  const points: [string, number, number, string][] = [
    ['BF16 GEMM, part of peak', 0.997, ...best(d, 'bf16', big)],
    ['FP8 GEMM, part of peak', 0.96, ...best(d, 'fp8', big)],
    ['BF16 GEMM where memory binds, part of bandwidth (fitted)', 0.514, ...best(d, 'bf16', thin)],
    ['FP8 GEMM where memory binds, part of bandwidth (fitted)', 0.56, ...best(d, 'fp8', thin)],
    ['8-chip all-gather, small, part of the bound (fitted)', 0.78, gather(1e3), '1 KB'],
    ['8-chip all-gather, large, part of the bound (fitted)', 0.94, gather(1e9), '1 GB'],
  ];
  const rows = points.map(([what, want, got, where]) => {
    const error = `${got >= want ? '+' : ''}${(100 * (got - want)).toFixed(1)} points`;
    console.log(what, want, got.toFixed(3), error);
    return `| ${what} | ${(100 * want).toFixed(1)} % | ${(100 * got).toFixed(1)} % | ${error} | ${where} |`;
  });
  return ['| | published | here | error | shape |', '| --- | ---: | ---: | ---: | --- |', ...rows].join('\n');
}

function replace(text: string, mark: string, body: string): string {
  const [from, to] = [`<!-- ${mark} -->`, `<!-- /${mark} -->`];
  const a = text.indexOf(from);
  const b = text.indexOf(to);
  if (a < 0 || b < a) throw new Error(`docs/npu.md lacks ${from} … ${to}`);
  return `${text.slice(0, a + from.length)}\n${body}\n${text.slice(b)}`;
}

const [points, table] = [published(), ablation()];
writeFileSync(docs, replace(replace(readFileSync(docs, 'utf8'), 'published', points), 'ablation', table));
