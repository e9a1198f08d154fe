/** What answers lose: perplexity of a fixed text on real models, llama.cpp's beside Turnstone's, and which part of Turnstone loses what. */

import { difference, perplexityOf, surprises } from '../../models/quantize/surprises.ts';
import { installPeers } from '../peers/install.ts';
import { llamaSurprises, PIECE, passage, withModel } from '../quality/model.ts';
import { REAL_MODELS, type RealName, realModel } from '../real-models.ts';
import type { Bench } from '../report.ts';
import { spread } from '../stats.ts';

/** What an isolate's answers may lose against llama.cpp on the same file, and what int8 keys and values may cost of it, percent. */
const [SERVED, KV] = [0.5, 0.2];

export async function quality(bench: Bench): Promise<void> {
  bench.note(
    `Perplexity of the first ${bench.rounds} × ${PIECE} tokens of [a passage](../bench/quality/passage.txt) of Conan Doyle's *The Captain of the Pole-Star* ` +
      '(1883, public domain); `--rounds` is the number of pieces. Both engines get the same token ids. llama.cpp (node-llama-cpp, one thread, f16 KV) ' +
      "reads the file as it is. Turnstone in f32 has the file's weights, activations and KV in f32: what differs then is llama.cpp's own rounding. " +
      '± is the standard error of the difference on these tokens.',
  );
  installPeers(bench.progress);
  const names = Object.keys(REAL_MODELS) as RealName[];
  const unknown = bench.only?.find((n) => !names.includes(n as RealName));
  if (unknown !== undefined) throw new Error(`--only ${unknown}: must be among ${names.join(', ')}`);
  for (const name of names) {
    if (bench.only && !bench.only.includes(name)) continue;
    const { path, missing } = realModel(name);
    try {
      if (missing) throw new Error(missing);
      await measure(bench, REAL_MODELS[name].name, path);
    } catch (e) {
      bench.note(`${REAL_MODELS[name].name}: not measured. ${(e as Error).message}`);
    }
  }
}

async function measure(bench: Bench, model: string, path: string): Promise<void> {
  const text = await passage(path, bench.rounds);
  const progress = (what: string) => (n: number) => bench.progress(`${model}, ${what}: ${n} of ${text.length}`);

  const llama = await llamaSurprises(path, text, progress('llama.cpp'));
  const say = (what: string, nats: number[]): void => {
    const { percent, error } = difference(llama, nats);
    const note =
      nats === llama ? '' : `${percent < 0 ? '−' : '+'}${Math.abs(percent).toFixed(2)} % ± ${error.toFixed(2)} against llama.cpp`;
    bench.figure({ name: `${model}: ${what}`, unit: 'perplexity', value: spread([perplexityOf(nats)]), precision: 5, note });
  };
  say('llama.cpp', llama);
  const exact = await withModel(path, { format: 'f32' }, async (m) => {
    const f32 = await surprises(m, 'f32', text, progress('f32'));
    say('f32', f32);
    const i8 = await surprises(m, 'i8', text, progress('f32 with int8 KV'));
    say('f32, int8 KV', i8);
    return { f32, i8 };
  });
  const served = await withModel(path, { format: 'auto' }, async (m) => {
    const f32 = await surprises(m, 'f32', text, progress('weights and activations as served'));
    say('weights and activations as served, f32 KV', f32);
    return surprises(m, 'i8', text, progress('as served'));
  });
  say('as served', served);

  const kv = difference(exact.f32, exact.i8);
  const all = difference(llama, served);
  bench.target({ name: `${model}: int8 KV costs`, got: kv.percent, want: KV, most: true, unit: '%' });
  bench.target({ name: `${model}: as served against llama.cpp`, got: all.percent, want: SERVED, most: true, unit: '%' });
}
