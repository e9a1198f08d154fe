/** Packs and recorded vectors that the tests of the embedder share. */
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from '../../cli/build.ts';
import { packOnnx } from '../../cli/pack-onnx.ts';

export const FIXTURES = join(ROOT, 'tests/fixtures/embedder');
export const DUNLIN = join(ROOT, 'models/dunlin');

/** PyTorch's (training/encoder/fixture.py), each text alone. */
export interface Recorded {
  texts: string[];
  ids: number[][];
  vectors: number[][];
}

export const recorded = (name: string): Recorded => JSON.parse(readFileSync(join(FIXTURES, `${name}.json`), 'utf8'));

export const temporary = (): string => mkdtempSync(join(tmpdir(), 'turnstone-embedder-'));

/** The small f32 model, packed by `turnstone pack`; answers the pack's folder. */
export async function smallPack(): Promise<string> {
  const out = join(temporary(), 'small');
  await packOnnx({ source: join(FIXTURES, 'small/model.onnx'), out, dimensions: '8,32', maxTokens: 256, say: () => {} });
  return out;
}

/** Largest difference of any number of any vector. */
export function farthest(a: readonly ArrayLike<number>[], b: readonly ArrayLike<number>[]): number {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  let most = 0;
  a.forEach((v, i) => {
    if (v.length !== b[i].length) most = Number.POSITIVE_INFINITY;
    for (let d = 0; d < v.length; d++) most = Math.max(most, Number.isFinite(v[d]) ? Math.abs(v[d] - b[i][d]) : Number.POSITIVE_INFINITY);
  });
  return most;
}
