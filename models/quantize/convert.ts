import type { WeightFormat } from '../../engine/backend.ts';
import { BLOCK, fits, PLAIN, packWeight, ROWS, weightBytes } from '../../engine/formats.ts';
import { emptyPlanes, PLANES, type PlaneName, type Planes, planeNumbers } from '../../engine/planes.ts';
import { ModelFileError } from '../error.ts';
import { decoders } from '../gguf/blocks.ts';
import type { ModelTensor, Part } from '../tensors.ts';
import { keeping, keeps, keptBlocks, keptPlanes } from './kept.ts';
import { dequantize, type Quantized, quantizeRtn, type Rounded } from './rtn.ts';
import { isSearched, quantizeSearched, SEARCHED, type Searched } from './search.ts';

/** What values can be converted to, or `auto`: the numbers that the file has. */
export type Format = typeof PLAIN | Rounded | Searched | 'auto';

/** Names of what can be asked for: when a model is started, and, with the time that a search takes, when it is packed. */
export const ASKED: readonly Format[] = ['auto', PLAIN, 'w8', 'w4'];
export const PACKED: readonly Format[] = [...ASKED, ...SEARCHED];

/** A format by name. Throws naming the option that gave it. */
export function formatNamed(option: string, name: string, among = ASKED): Format {
  const format = among.find((f) => f === name);
  if (format) return format;
  throw new Error(`${option} is "${name}", must be one of ${among.join(', ')} (auto keeps what the file has)`);
}

/** What rows that are no whole super-blocks get instead: a format of as many bits, as llama.cpp does it. */
const IN_BLOCKS: Partial<Record<WeightFormat, WeightFormat>> = { q2_k: 'q4_1', q3_k: 'q4_1', q4_k: 'q5_0', q5_k: 'q5_1', q6_k: 'w8' };

/** Changes when `auto` makes something else of a file: what was converted before is converted anew. */
export const CONVERSION = 3;

const HALVES = ['F16', 'BF16'];

/** Format of a tensor: vectors and matrices whose K is not made of the format's blocks stay f32. `auto` keeps a quantized type's numbers and rounds halves to w8. */
export function formatOf(t: ModelTensor, wanted: Format): WeightFormat {
  if (t.vector) return PLAIN;
  const types = [...new Set(t.parts.map((p) => p.type))];
  const kept = types.every((type) => HALVES.includes(type)) ? 'w8' : keeping(types);
  const asked = wanted === 'auto' ? kept : wanted;
  return [asked, IN_BLOCKS[asked]].find((f) => f && fits(f, t.K)) ?? PLAIN;
}

/** What quantization cost: relative RMS error √(Σ(x − x̂)² / Σx²). */
export class Loss {
  error = 0;
  power = 0;

  add(x: Float32Array, approximated: Float32Array): void {
    for (let i = 0; i < x.length; i++) {
      const e = x[i] - approximated[i];
      this.error += e * e;
      this.power += x[i] * x[i];
    }
  }

  get relative(): number {
    return this.power === 0 ? 0 : Math.sqrt(this.error / this.power);
  }
}

/** Quantizes rows [from, from + rows) of a tensor; `x` is f32 [rows, K]. */
export type Quantizer = (x: Float32Array, tensor: ModelTensor, from: number, format: Rounded) => Quantized;

const rtn: Quantizer = (x, _tensor, _from, format) => quantizeRtn(format, x);

/** Bytes of a tensor of this format in a pack or on a backend: kernel layout, plain f32 for vectors. */
export function packedBytes(t: Pick<ModelTensor, 'vector' | 'N' | 'K'>, format: WeightFormat): number {
  return t.vector ? t.N * 4 : weightBytes(format, t.N, t.K);
}

const CHUNK = 1 << 20; // elements converted at once: 4 MiB of f32

/**
 * A tensor in kernel layout, piece by piece in order: reads a range of rows, decodes, quantizes, packs. A stored type whose numbers the
 * format holds is kept; anything else that is quantized adds to `loss` when given. Throws ModelFileError naming the stored tensor.
 */
export async function* packedPieces(
  t: ModelTensor,
  format: WeightFormat,
  loss?: Loss,
  quantizer: Quantizer = rtn,
  importance?: Float64Array,
): AsyncGenerator<Uint8Array> {
  const step = Math.max(ROWS, Math.floor(CHUNK / t.K / ROWS) * ROWS);
  for (let from = 0; from < t.N; from += step) {
    const rows = Math.min(step, t.N - from);
    yield await converters[format](t, from, rows, { loss, quantizer, importance });
  }
}

interface ConvertOptions {
  loss?: Loss;
  quantizer: Quantizer;
  /** Of each column, where values are rounded by search. */
  importance?: Float64Array;
}

/** Rows [from, from + rows) of a tensor in kernel layout (a vector: plain), of each format. */
type Converter = (t: ModelTensor, from: number, rows: number, o: ConvertOptions) => Promise<Uint8Array>;

const converters: Record<WeightFormat, Converter> = {
  async f32(t, from, rows) {
    const x = new Float32Array(rows * t.K);
    for await (const s of segments(t, from, rows)) {
      const values = guarded(s, () => decodeRows(s.part, s.raw, s.rows));
      x.set(values, (s.row - from) * t.K);
    }
    return t.vector ? new Uint8Array(x.buffer) : packWeight('f32', rows, t.K, x);
  },
  w8: (...args) => rounded('w8', ...args),
  w4: (...args) => rounded('w4', ...args),
  q4_1: (...args) => kept('q4_1', ...args),
  q5_0: (...args) => kept('q5_0', ...args),
  q5_1: (...args) => kept('q5_1', ...args),
  iq4_nl: (...args) => kept('iq4_nl', ...args),
  mxfp4: (...args) => kept('mxfp4', ...args),
  q2_k: (...args) => kept('q2_k', ...args),
  q3_k: (...args) => kept('q3_k', ...args),
  q4_k: (...args) => kept('q4_k', ...args),
  q5_k: (...args) => kept('q5_k', ...args),
  q6_k: (...args) => kept('q6_k', ...args),
  iq4_xs: (...args) => kept('iq4_xs', ...args),
  any_k: (...args) => kept('any_k', ...args),
};

async function kept(format: PlaneName, t: ModelTensor, from: number, rows: number, o: ConvertOptions): Promise<Uint8Array> {
  const all = emptyPlanes(PLANES[format], rows, t.K);
  for await (const s of segments(t, from, rows)) {
    const piece = guarded(s, () => planesOf(t, s, format, o));
    for (const part of ['q', 'd', 'm', 'scales', 'minima'] as const) {
      const each = all[part].length / rows; // elements a row
      all[part].set(piece[part], (s.row - from) * each);
    }
  }
  return packWeight(format, rows, t.K, all);
}

function planesOf(t: ModelTensor, s: Segment, format: PlaneName, { loss, importance }: ConvertOptions): Planes {
  if (keeps(format, s.part.type) || !isSearched(format)) return keptPlanes(format, s.part.type, s.raw, s.rows * t.K);
  const x = decodeRows(s.part, s.raw, s.rows);
  const out = quantizeSearched(format, x, t.K, importance);
  loss?.add(x, planeNumbers(PLANES[format], out));
  return out;
}

async function rounded(format: Rounded, t: ModelTensor, from: number, rows: number, o: ConvertOptions): Promise<Uint8Array> {
  const q = new Int8Array(rows * t.K);
  const d = new Uint16Array(q.length / BLOCK);
  for await (const s of segments(t, from, rows)) {
    const piece = guarded(s, () => quantized(t, s, format, o));
    q.set(piece.q, (s.row - from) * t.K);
    d.set(piece.d, ((s.row - from) * t.K) / BLOCK);
  }
  return packWeight(format, rows, t.K, { q, d });
}

/** Rows [row, row + rows) of a tensor, all in one part, as stored. */
interface Segment {
  part: Part;
  row: number;
  rows: number;
  raw: Uint8Array;
}

/** The stored rows behind [from, from + rows), part by part. */
async function* segments(t: ModelTensor, from: number, rows: number): AsyncGenerator<Segment> {
  let first = 0;
  for (const part of t.parts) {
    const lo = Math.max(from, first);
    const hi = Math.min(from + rows, first + part.rows);
    if (lo < hi) yield { part, row: lo, rows: hi - lo, raw: await part.read(lo - first, hi - first) };
    first += part.rows;
  }
}

/** Names the stored tensor in errors about its values. */
function guarded<T>(s: Segment, convert: () => T): T {
  try {
    return convert();
  } catch (e) {
    if (e instanceof RangeError)
      throw new ModelFileError(`tensor "${s.part.name}"`, `${e.message} (in rows ${s.row} to ${s.row + s.rows})`);
    throw e;
  }
}

function quantized(t: ModelTensor, s: Segment, format: Rounded, { loss, quantizer }: ConvertOptions): Quantized {
  if (keeps(format, s.part.type)) return keptBlocks(format, s.part.type, s.raw, s.rows * t.K);
  const x = decodeRows(s.part, s.raw, s.rows);
  const out = quantizer(x, t, s.row, format);
  loss?.add(x, dequantize(format, out));
  return out;
}

/** Rows of a part as f32. Throws RangeError when a value is not finite. */
export function decodeRows(part: Pick<Part, 'type' | 'K'>, raw: Uint8Array, rows: number): Float32Array {
  const x = new Float32Array(rows * part.K);
  const decode = decoders.get(part.type);
  if (!decode) throw new RangeError(`has type ${part.type}, which cannot be read`);
  decode(raw, x, x.length);
  for (let i = 0; i < x.length; i++) if (!(Math.abs(x[i]) < Infinity)) throw new RangeError('has a value that is not finite');
  return x;
}
