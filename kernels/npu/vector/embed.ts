import { f32Offset, ROWS, scaleOffset, w4Offset, w4Shift, w8Offset } from '../../../engine/layout.ts';
import { f16ToF32 } from '../../../engine/math.ts';
import type { Sram } from '../run/memory.ts';
import type { Params } from './rows.ts';

/** out[rows, K] from one row group each: row ids[i] mod 8 of the group at groups + i · pitch. format: 0 f32, 1 w8, 2 w4. */
export function embed(s: Sram, p: Params): void {
  for (let i = 0; i < p.rows; i++) {
    const r = s.u32[(p.ids >> 2) + i] % ROWS;
    const group = p.groups + i * p.pitch;
    const out = (p.out + i * p.K * 4) >> 2;
    if (p.format === 0) {
      for (let k = 0; k < p.K; k++) s.f32[out + k] = s.f32[(group + f32Offset(r, k)) >> 2];
      continue;
    }
    const format = p.format === 1 ? 'w8' : 'w4';
    for (let b = 0; b < p.K; b += 32) {
      const d = f16ToF32(s.u16[(group + scaleOffset(format, r, b >> 5)) >> 1]);
      for (let k = b; k < b + 32; k++) {
        const q = format === 'w8' ? s.i8[group + w8Offset(r, k)] : ((s.u8[group + w4Offset(r, k)] >> w4Shift(k)) & 15) - 8;
        s.f32[out + k] = q * d;
      }
    }
  }
}
