import type { WeightFormat } from '../../engine/backend.ts';
import {
  BLOCK,
  FORMATS,
  f32Offset,
  ROWS,
  rowGroupBytes,
  scaleOffset,
  WEIGHT_FORMATS,
  w4Offset,
  w4Shift,
  w8Offset,
} from '../../engine/formats.ts';
import { f16ToF32 } from '../../engine/math.ts';
import { PLANES, type PlaneName, planeNumbers, unpackPlanes } from '../../engine/planes.ts';
import type { Sram } from '../run/memory.ts';
import type { Params } from './rows.ts';

/** What `format` counts. */
export const EMBED_FORMATS = WEIGHT_FORMATS;

/** Writes row r of the row group at `group`, [K] f32 words from word `out` on. */
type Lookup = (s: Sram, group: number, r: number, K: number, out: number) => void;

const lookups: Record<WeightFormat, Lookup> = {
  f32(s, group, r, K, out) {
    for (let k = 0; k < K; k++) s.f32[out + k] = s.f32[(group + f32Offset(r, k)) >> 2];
  },
  w8: blockLookup(FORMATS.w8.bytes, (s, group, r, k) => s.i8[group + w8Offset(r, k)]),
  w4: blockLookup(FORMATS.w4.bytes, (s, group, r, k) => ((s.u8[group + w4Offset(r, k)] >> w4Shift(k)) & 15) - 8),
  q4_1: planeLookup('q4_1'),
  q5_0: planeLookup('q5_0'),
  q5_1: planeLookup('q5_1'),
  iq4_nl: planeLookup('iq4_nl'),
  mxfp4: planeLookup('mxfp4'),
  q2_k: planeLookup('q2_k'),
  q3_k: planeLookup('q3_k'),
  q4_k: planeLookup('q4_k'),
  q5_k: planeLookup('q5_k'),
  q6_k: planeLookup('q6_k'),
  iq4_xs: planeLookup('iq4_xs'),
  any_k: planeLookup('any_k'),
};

function planeLookup(name: PlaneName): Lookup {
  const format = PLANES[name];
  return (s, group, r, K, out) => {
    const bytes = s.u8.subarray(group, group + rowGroupBytes(name, K));
    s.f32.set(planeNumbers(format, unpackPlanes(format, ROWS, K, bytes)).subarray(r * K, (r + 1) * K), out);
  };
}

function blockLookup(bytes: number, q: (s: Sram, group: number, r: number, k: number) => number): Lookup {
  return (s, group, r, K, out) => {
    for (let b = 0; b < K / BLOCK; b++) {
      const d = f16ToF32(s.u16[(group + scaleOffset(bytes, r, b)) >> 1]);
      for (let k = b * BLOCK; k < (b + 1) * BLOCK; k++) s.f32[out + k] = q(s, group, r, k) * d;
    }
  };
}

/** out[rows, K] from one row group each: row ids[i] mod 8 of the group at groups + i · pitch. `format` is an index of EMBED_FORMATS. */
export function embed(s: Sram, p: Params): void {
  const lookup = lookups[EMBED_FORMATS[p.format]];
  for (let i = 0; i < p.rows; i++) {
    const r = s.u32[(p.ids >> 2) + i] % ROWS;
    const out = (p.out + i * p.K * 4) >> 2;
    lookup(s, p.groups + i * p.pitch, r, p.K, out);
    if (p.scale !== 1) for (let k = out; k < out + p.K; k++) s.f32[k] *= Math.fround(p.scale); // rounded where it is stored
  }
}
