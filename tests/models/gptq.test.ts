import { describe, expect, it } from 'vitest';
import { f32ToF16 } from '../../engine/math.ts';
import { philox } from '../../engine/random.ts';
import { createReference } from '../../kernels/reference/index.ts';
import { openGguf } from '../../models/gguf/open.ts';
import { loadWeights } from '../../models/pack/load.ts';
import { memoryPack } from '../../models/pack/source.ts';
import { writePack } from '../../models/pack/write.ts';
import { type CalibrationReport, calibrate } from '../../models/quantize/calibrate.ts';
import { gptq, Hessian } from '../../models/quantize/gptq.ts';
import { dequantize, quantizeRtn } from '../../models/quantize/rtn.ts';
import { memorySource } from '../../models/source.ts';
import { small, smallGguf } from './small-model.ts';

function noise(seed: number, n: number): Float32Array {
  return Float32Array.from({ length: n }, (_, i) => philox([seed, 9], [i, 0, 0, 0])[0] / 2 ** 31 - 1);
}

/** Inputs [rows, K] that lie mostly in a few directions, as activations do. */
function correlated(rows: number, K: number): Float32Array {
  const directions = noise(1, 6 * K);
  const weights = noise(2, rows * 6);
  const x = noise(3, rows * K).map((v) => v * 0.1);
  for (let r = 0; r < rows; r++)
    for (let j = 0; j < 6; j++) for (let k = 0; k < K; k++) x[r * K + k] += weights[r * 6 + j] * directions[j * K + k];
  return x;
}

describe('GPTQ', () => {
  const [N, K] = [24, 96];
  const x = correlated(301, K);
  const w = noise(4, N * K);
  const h = new Hessian(K);
  h.add(x.subarray(0, 100 * K));
  h.add(x.subarray(100 * K));

  /** Σ (X·wᵀ − X·vᵀ)² / Σ (X·wᵀ)², the long way. */
  function outputError(v: Float32Array): number {
    let error = 0;
    let power = 0;
    for (let r = 0; r < 301; r++) {
      for (let n = 0; n < N; n++) {
        let [a, b] = [0, 0];
        for (let k = 0; k < K; k++) {
          a += x[r * K + k] * w[n * K + k];
          b += x[r * K + k] * v[n * K + k];
        }
        error += (a - b) ** 2;
        power += a * a;
      }
    }
    return error / power;
  }

  it('measures output errors through the Hessian', () => {
    const v = dequantize('w4', quantizeRtn('w4', w));
    expect(h.count).toBe(301);
    expect(h.outputError(w, v)).toBeCloseTo(outputError(v), 8);
  });

  it('brings the output error far below that of round to nearest, in both formats', () => {
    for (const format of ['w4', 'w8'] as const) {
      const nearest = outputError(dequantize(format, quantizeRtn(format, w)));
      const quantized = gptq(format, w, h);
      expect(outputError(dequantize(format, quantized)), format).toBeLessThan(nearest / 3);
      for (const q of quantized.q) expect(q >= (format === 'w4' ? 0 : -127) && q <= (format === 'w4' ? 15 : 127)).toBe(true);
    }
  });

  it('keeps values that are quantized already, and survives inputs that are always zero', () => {
    const already = dequantize('w4', quantizeRtn('w4', w));
    const dead = x.map((v, i) => (i % K < 40 ? 0 : v));
    const hd = new Hessian(K);
    hd.add(dead);
    for (const hessian of [h, hd]) expect(dequantize('w4', gptq('w4', already, hessian))).toEqual(already);
    expect([...gptq('w4', new Float32Array(N * K), h).d].every((d) => d === f32ToF16(0))).toBe(true);
  });
});

describe('calibrating a model', () => {
  it('quantizes every matrix for its own inputs, and the pack carries the result', { timeout: 120_000 }, async () => {
    for (const config of [small, { ...small, family: 'qwen3', qkNorm: true, qkvBias: true, tied: true } as const]) {
      const model = await openGguf(memorySource(smallGguf(config), 'small.gguf'));
      const sequences = [0, 1, 2].map((s) => Array.from({ length: 24 }, (_, i) => philox([s, 5], [i, 0, 0, 0])[0] % config.vocab));
      const reports: CalibrationReport[] = [];
      const seen = new Map<string, number>();
      const quantizer = await calibrate(createReference(), model, sequences, {
        format: 'w4',
        onTensor: (r) => reports.push(r),
        collect: (name, X) => seen.set(name, (seen.get(name) ?? 0) + X.length),
      });
      const names = [0, 1].flatMap((l) => ['qkv', 'o', 'gateUp', 'down'].map((n) => `layers.${l}.${n}`));
      expect(reports.map((r) => r.name)).toEqual([...names, config.tied ? 'embed' : 'head']);
      expect(seen.get('layers.1.down')).toBe(72 * config.ffn);
      for (const r of reports) expect(r.calibrated, r.name).toBeLessThan(r.nearest);

      const files = new Map<string, Uint8Array>();
      const sink = {
        write: async (name: string, bytes: Uint8Array) => {
          files.set(name, bytes.slice());
        },
      };
      const { manifest, report } = await writePack(model, sink, { format: 'w4', quantizer });
      expect(report.find((r) => r.name === 'layers.1.down')).toMatchObject({ format: 'w4' });
      const { manifest: plain } = await writePack(model, { write: async () => {} }, { format: 'w4' });
      expect(plain.shards[0].sha256).not.toBe(manifest.shards[0].sha256);
      await loadWeights(memoryPack(files), manifest, createReference());
    }
  });
});
