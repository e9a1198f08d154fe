/**
 * `npx tsx bench/kv-formats.ts [--pieces 1] [--only smollm2] [--served]`: what keys and values of 4 bits cost in perplexity on real models: KV=i8v4
 * as served beside KV=i8, and other formats (unless --served) beside f32 pages, of which each is rounded as soon as it is whole, so that the page
 * under way is exact. Weights and activations as served. Prints the table of docs/models.md.
 */
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { kvHeadBytes, PAGE } from '../engine/layout.ts';
import { Runner } from '../engine/runner.ts';
import { difference, perplexityOf, type Runnable, sizeOf, surprise, surprises } from '../models/quantize/surprises.ts';
import { passage, withModel } from './quality/model.ts';
import { REAL_MODELS, type RealName, realModel } from './real-models.ts';

/** Rounds numbers at `from`, `from + step` … (n of them) to 4 bits and one scale: −8..7 of the largest, as Q4_0 does it. */
function four(x: Float32Array, from: number, step: number, n: number): void {
  let most = 0;
  for (let i = 0; i < n; i++) if (Math.abs(x[from + i * step]) > Math.abs(most)) most = x[from + i * step];
  const scale = most / -8;
  if (scale === 0) return;
  for (let i = 0; i < n; i++) x[from + i * step] = Math.max(-8, Math.min(7, Math.round(x[from + i * step] / scale))) * scale;
}

/** The same with a minimum: 0..15. */
function fourFromMinimum(x: Float32Array, from: number, step: number, n: number): void {
  let [least, most] = [Infinity, -Infinity];
  for (let i = 0; i < n; i++) {
    least = Math.min(least, x[from + i * step]);
    most = Math.max(most, x[from + i * step]);
  }
  const scale = (most - least) / 15;
  if (scale === 0) return;
  for (let i = 0; i < n; i++) x[from + i * step] = Math.round((x[from + i * step] - least) / scale) * scale + least;
}

/** Of a head of a page: keys [d][16 tokens], values [16 tokens][d]. */
type Round = (keys: Float32Array, values: Float32Array, d: number) => void;

const valuesBy =
  (group: number): Round =>
  (_, values, d) => {
    for (let at = 0; at < PAGE * d; at += group) four(values, at, 1, group);
  };
const keysBy =
  (group: number): Round =>
  (keys, _, d) => {
    for (let t = 0; t < PAGE; t++) for (let k = 0; k < d; k += group) four(keys, k * PAGE + t, PAGE, group);
  };
const keysByChannel: Round = (keys, _, d) => {
  for (let k = 0; k < d; k++) fourFromMinimum(keys, k * PAGE, 1, PAGE);
};
const both =
  (a: Round, b: Round): Round =>
  (...x) => {
    a(...x);
    b(...x);
  };

/** The same as int8 has it, with 7 levels on each side: one scale for a head of a token. */
const valuesByHead: Round = (_, values, d) => {
  for (let at = 0; at < PAGE * d; at += d) {
    const scale = values.subarray(at, at + d).reduce((most, v) => Math.max(most, Math.abs(v)), 0) / 7;
    if (scale > 0) for (let k = at; k < at + d; k++) values[k] = Math.round(values[k] / scale) * scale;
  }
};

/** Bits of a key and of a value, scales included; the half that is not rounded counts as int8 has it. */
const FORMATS: readonly { name: string; bits: (d: number) => [key: number, value: number]; round: Round }[] = [
  { name: 'values of 4 bits, one scale a head', bits: (d) => [8 + 32 / d, 4 + 32 / d], round: valuesByHead },
  { name: 'values of 4 bits, groups of 32', bits: (d) => [8 + 32 / d, 4.5], round: valuesBy(32) },
  { name: 'keys of 4 bits, groups of 32', bits: (d) => [4.5, 8 + 32 / d], round: keysBy(32) },
  { name: 'keys of 4 bits with a minimum, each channel of a page', bits: (d) => [6, 8 + 32 / d], round: keysByChannel },
  { name: 'these keys, and values of one scale a head', bits: (d) => [6, 4 + 32 / d], round: both(keysByChannel, valuesByHead) },
];

/** Negative log-likelihoods of the tokens of texts, a page at a time. */
async function surprisesOf({ config, backend, weights }: Runnable, texts: readonly number[][], round?: Round): Promise<number[]> {
  const size = { ...sizeOf(Math.max(...texts.map((t) => t.length))), maxTokens: PAGE, maxRows: PAGE };
  const runner = new Runner({ backend, config, weights, size, kv: 'f32', pages: size.maxBlocks });
  const pages = Array.from({ length: size.maxBlocks }, (_, p) => p);
  const { headDim: d, vocab } = config;
  const head = kvHeadBytes(runner.kv.shape) / 4;
  const out: number[] = [];
  for (const ids of texts) {
    for (let start = 0; start + 1 < ids.length; start += PAGE) {
      const count = Math.min(PAGE, ids.length - 1 - start);
      runner.run([{ seq: { ids, pages }, start, count, logits: count, draft: [] }]);
      const raw = await backend.read(runner.logits, 0, count * vocab * 4);
      const rows = new Float32Array(raw.buffer, raw.byteOffset, count * vocab);
      for (let i = 0; i < count; i++) out.push(surprise(rows.subarray(i * vocab, (i + 1) * vocab), ids[start + i + 1]));
      if (!round || count < PAGE) continue;
      const page = (await runner.readPage(start / PAGE)).slice();
      const numbers = new Float32Array(page.buffer);
      for (let at = 0; at < numbers.length; at += head) {
        round(numbers.subarray(at, at + PAGE * d), numbers.subarray(at + PAGE * d, at + 2 * PAGE * d), d);
      }
      runner.writePage(start / PAGE, page);
    }
  }
  return out;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { pieces: { type: 'string', default: '1' }, only: { type: 'string' }, served: { type: 'boolean', default: false } },
  });
  const names = (values.only?.split(',') ?? ['smollm2', 'qwen-coder', 'gemma3']) as RealName[];
  const rows: string[][] = [];
  for (const name of names) {
    const { path, missing } = realModel(name);
    if (missing) throw new Error(missing);
    const texts = await passage(path, Number(values.pieces));
    await withModel(path, { format: 'auto' }, async (m) => {
      const { headDim: d } = m.config;
      const say = (format: string, [key, value]: [number, number], of: number[], nats: number[]): void => {
        const { percent, error } = difference(of, nats);
        const size = `${((100 * (key + value)) / (2 * (8 + 32 / d))).toFixed(0)} %`;
        rows.push([
          REAL_MODELS[name].name,
          format,
          size,
          `${percent < 0 ? '−' : '+'}${Math.abs(percent).toFixed(1)} % ± ${error.toFixed(1)}`,
        ]);
        console.error(rows.at(-1)?.join(' | '));
      };
      say('`KV=i8v4`, as served', [8 + 32 / d, 4 + 32 / d], await surprises(m, 'i8', texts), await surprises(m, 'i8v4', texts));
      if (values.served) return;
      const whole = await surprisesOf(m, texts);
      console.error(`${name}, f32 pages: ${perplexityOf(whole).toFixed(3)}`);
      for (const { name: format, bits, round } of FORMATS) say(format, bits(d), whole, await surprisesOf(m, texts, round));
    });
  }
  const line = (cells: string[]) => `| ${cells.join(' | ')} |`;
  console.log(`${cpus()[0].model}, ${new Date().toISOString().slice(0, 10)}, ${values.pieces} × 512 tokens`);
  console.log(
    [line(['model', 'format', "of int8's bytes", 'perplexity']), line(['---', '---', '---', '---']), ...rows.map(line)].join('\n'),
  );
}

await main();
