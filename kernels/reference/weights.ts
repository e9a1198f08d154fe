import type { Act, Weight, WeightFormat } from '../../engine/backend.ts';
import { BLOCK, ROWS, rowGroupBytes, unpackWeight } from '../../engine/formats.ts';
import { f16ToF32 } from '../../engine/math.ts';
import { PLANES, type PlaneName, planeValues } from '../../engine/planes.ts';
import { actScales, f32, i8, u8 } from './buffers.ts';
import { f } from './numeric.ts';

/** One row of a weight. */
export interface Row {
  /** Its values as `embed` gives them, [K]. */
  values(): Float32Array;
  /** Its dot product with row t of activations, as a function of t. */
  dots(x: Act): (t: number) => number;
}

/** Row n of a weight in each format. */
const rows: Record<WeightFormat, (w: Weight, n: number) => Row> = {
  f32: plainRow,
  w8: (w, n) => blockRow(unpackWeight('w8', ROWS, w.K, groupOf(w, n)), 0, w.K, n % ROWS),
  w4: (w, n) => blockRow(unpackWeight('w4', ROWS, w.K, groupOf(w, n)), 8, w.K, n % ROWS),
  q4_1: (w, n) => planeRow('q4_1', w, n),
  q5_0: (w, n) => planeRow('q5_0', w, n),
  q5_1: (w, n) => planeRow('q5_1', w, n),
  iq4_nl: (w, n) => planeRow('iq4_nl', w, n),
  mxfp4: (w, n) => planeRow('mxfp4', w, n),
  q2_k: (w, n) => planeRow('q2_k', w, n),
  q3_k: (w, n) => planeRow('q3_k', w, n),
  q4_k: (w, n) => planeRow('q4_k', w, n),
  q5_k: (w, n) => planeRow('q5_k', w, n),
  q6_k: (w, n) => planeRow('q6_k', w, n),
  iq4_xs: (w, n) => planeRow('iq4_xs', w, n),
  any_k: (w, n) => planeRow('any_k', w, n),
};

export const rowOf = (w: Weight, n: number): Row => rows[w.format](w, n);

function groupOf(w: Weight, n: number): Uint8Array {
  const bytes = rowGroupBytes(w.format, w.K);
  return u8(w.data).subarray(Math.floor(n / ROWS) * bytes, (Math.floor(n / ROWS) + 1) * bytes);
}

/** f32: one accumulator, k ascending. */
function plainRow(w: Weight, n: number): Row {
  const { K } = w;
  const r = n % ROWS;
  const values = unpackWeight('f32', ROWS, K, groupOf(w, n)).subarray(r * K, (r + 1) * K);
  return {
    values: () => values,
    dots(x) {
      const all = f32(x.data);
      return (t) => {
        const a = all.subarray(t * K, (t + 1) * K);
        let acc = 0;
        for (let k = 0; k < K; k++) acc = f(acc + f(a[k] * values[k]));
        return acc;
      };
    },
  };
}

/** Integers q − zero in blocks of 32 with a scale each: exact integer dot products a block, one f32 accumulator over blocks ascending. */
function blockRow(group: { q: ArrayLike<number>; d: ArrayLike<number> }, zero: number, K: number, r: number): Row {
  const blocks = K / BLOCK;
  const q = Int8Array.from({ length: K }, (_, k) => group.q[r * K + k] - zero);
  const d = Float32Array.from({ length: blocks }, (_, b) => f16ToF32(group.d[r * blocks + b]));
  return {
    values: () => Float32Array.from(q, (v, k) => v * d[Math.floor(k / BLOCK)]), // exact
    dots(x) {
      const [all, scales] = [i8(x.data), actScales(x)];
      return (t) => {
        const a = all.subarray(t * K, (t + 1) * K);
        const da = scales.subarray(t * blocks, (t + 1) * blocks);
        let acc = 0;
        for (let b = 0; b < blocks; b++) {
          let idot = 0;
          for (let k = b * BLOCK; k < (b + 1) * BLOCK; k++) idot += a[k] * q[k];
          acc = f(acc + f(idot * f(d[b] * da[b])));
        }
        return acc;
      };
    },
  };
}

/** Integers with a scale, and maybe a minimum, a sub-block: exact integer sums of each, one f32 accumulator over sub-blocks ascending. */
function planeRow(name: PlaneName, w: Weight, n: number): Row {
  const { K } = w;
  const format = PLANES[name];
  const { sub } = format;
  const minima = format.minimum !== 0;
  const all = planeValues(format, unpackWeight(name, ROWS, K, groupOf(w, n)));
  const part = <T extends Float32Array | Int8Array>(values: T, size: number) =>
    values.subarray((n % ROWS) * size, ((n % ROWS) + 1) * size) as T;
  const q = part(all.q, K);
  const scale = part(all.scale, K / sub);
  const minimum = part(all.minimum, minima ? K / sub : 0);
  /** What block b of 32 columns adds to the sum, by its sub-blocks: one, or two that are joined before da. */
  function blockDot(a: Int8Array, at: number, b: number, da: number): number {
    const parts = Array.from({ length: BLOCK / sub }, (_, i) => {
      const j = (b * BLOCK) / sub + i;
      let idot = 0;
      let isum = 0;
      for (let k = j * sub; k < (j + 1) * sub; k++) {
        idot += a[at + k] * q[k];
        isum += a[at + k];
      }
      return { idot, isum, s: scale[j], m: minima ? minimum[j] : 0 };
    });
    const [one, two] = parts;
    if (!two) {
      const product = f(one.idot * f(one.s * da));
      return minima ? f(product + f(one.m * f(one.isum * da))) : product;
    }
    const products = f(f(one.idot * one.s) + f(two.idot * two.s));
    return f((minima ? f(products + f(f(one.m * one.isum) + f(two.m * two.isum))) : products) * da);
  }
  return {
    values: () =>
      Float32Array.from(q, (v, k) => {
        const j = Math.floor(k / sub);
        return minima ? f(v * scale[j] + minimum[j]) : v * scale[j]; // the product is exact
      }),
    dots(x) {
      const [activations, scales] = [i8(x.data), actScales(x)];
      return (t) => {
        let acc = 0;
        for (let b = 0; b < K / BLOCK; b++) acc = f(acc + blockDot(activations, t * K, b, scales[(t * K) / BLOCK + b]));
        return acc;
      };
    },
  };
}
