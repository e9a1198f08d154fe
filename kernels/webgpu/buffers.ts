import type { Act, ActFormat, Buf } from '../../engine/backend.ts';
import { BLOCK } from '../../engine/formats.ts';

/** A buffer of this backend. */
export class GpuBuf implements Buf {
  readonly label: string;
  readonly bytes: number;
  readonly gpu: GPUBuffer;
  /** Names it in keys of bind groups. */
  readonly id: number;

  constructor(label: string, bytes: number, gpu: GPUBuffer, id: number) {
    this.label = label;
    this.bytes = bytes;
    this.gpu = gpu;
    this.id = id;
  }
}

/** A part of a buffer as a shader sees it. */
export interface View {
  buf: GpuBuf;
  offset: number;
  size: number;
}

/** The buffer itself; throws when it belongs to another backend or is shorter than an op will touch. */
export function need(op: string, buf: Buf, bytes = 0): GpuBuf {
  if (!(buf instanceof GpuBuf)) throw new Error(`${buf.label}: not a buffer of the webgpu backend`);
  if (buf.bytes < bytes) throw new Error(`${op}: ${buf.label} has ${buf.bytes} bytes, ${bytes} are needed`);
  return buf;
}

/** Where bindings may start; the specification's default, which every device allows. */
const ALIGN = 256;
const align = (n: number): number => Math.ceil(n / ALIGN) * ALIGN;

/** Bytes of the integers of i8 activations; after them come, for each block, its scale and the sum of its integers. */
const actQ = (rows: number, K: number): number => align(rows * K);

/** Bytes of activations [rows, K]. */
export function actBytes(format: ActFormat, rows: number, K: number): number {
  if (format === 'f32') return rows * K * 4;
  if (K % BLOCK !== 0) throw new Error(`act: i8 needs K to be a multiple of ${BLOCK}, got ${K}; use f32 activations and weights`);
  return actQ(rows, K) + (rows * K * 8) / BLOCK;
}

/** The two parts of i8 activations. */
export function actViews(act: Act): { q: View; about: View; aboutWord: number } {
  const buf = need('act', act.data);
  const offset = actQ(act.rows, act.K);
  return {
    q: { buf, offset: 0, size: offset },
    about: { buf, offset, size: (act.rows * act.K * 8) / BLOCK },
    aboutWord: offset / 4,
  };
}
