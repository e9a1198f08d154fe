/**
 * What each idea of the compiler brings: device time of a prefill with it and without, and over 1 to 8 chips. Writes the
 * tables into docs/npu.md between their marks.
 *
 *   npx tsx bench/npu/ablation.ts [published | smollm2-135m | llama-3-8b]
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type DeviceSpec, device } from '../../simulator/device/index.ts';
import { compile, defaults, type Op } from '../../simulator/ops/index.ts';
import { allGatherUs } from '../../simulator/run/links.ts';
import { boundCycles, schedule } from '../../simulator/run/schedule.ts';
import { modelShapes } from '../../simulator/shapes.ts';
import { type SimulateRequest, simulate } from '../../simulator/simulate.ts';

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

/** Writes a model's table after every figure, so that a run that is cut short leaves what it found. */
function ablation(model: string, numbers: 'w4' | 'bf16'): void {
  const found: number[][] = variants.map(() => []);
  PROMPTS.forEach((prompt, p) => {
    variants.forEach(([name, options], v) => {
      const { us } = simulate({ device: device('maia-200'), model: modelShapes[model], prompt, numbers, options });
      found[v][p] = us;
      console.log(model, prompt, name, ms(us), (us / found[0][p]).toFixed(2));
      const rows = variants.map(([n], i) => {
        const cells = PROMPTS.map((_, j) =>
          found[i][j] === undefined ? '' : `${ms(found[i][j])} (${(found[i][j] / found[0][j]).toFixed(2)})`,
        );
        return `| ${n} | ${cells.join(' | ')} |`;
      });
      const what = `**${model}**, ${numbers === 'w4' ? 'w4 as exact-1 computes it' : 'BF16, timed only'}, on maia-200: device time in ms (times the first row's)`;
      const head = [`| | ${PROMPTS.map((n) => `${n} tokens`).join(' | ')} |`, `| --- |${' ---: |'.repeat(PROMPTS.length)}`];
      write(`ablation ${model}`, [what, '', ...head, ...rows].join('\n'));
    });
  });
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

/** Replaces what stands between a mark of docs/npu.md and its end. */
function write(mark: string, body: string): void {
  const text = readFileSync(docs, 'utf8');
  const [from, to] = [`<!-- ${mark} -->`, `<!-- /${mark} -->`];
  const [a, b] = [text.indexOf(from), text.indexOf(to)];
  if (a < 0 || b < a) throw new Error(`docs/npu.md lacks ${from} … ${to}`);
  writeFileSync(docs, `${text.slice(0, a + from.length)}\n\n${body}\n\n${text.slice(b)}`);
}

const only = process.argv[2];
if (!only || only === 'published') write('published', published());
if (!only || only === 'smollm2-135m') ablation('smollm2-135m', 'w4');
if (!only || only === 'llama-3-8b') ablation('llama-3-8b', 'bf16');
