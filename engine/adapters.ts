/**
 * Adapters of low rank (LoRA, Hu et al., 2021) beside a model's matrices: loaded and dropped while others compute, in memory that the plan has
 * set aside for them.
 */
import { LAYER_MATRICES, type LayerMatrix, tensorList } from './anatomy.ts';
import type { Adapter, Allocator, Backend, Buf, LowRank } from './backend.ts';
import type { ModelConfig } from './config.ts';

/** One matrix of an adapter before it is loaded: its place, and then `a` and `b` as LowRank has them. */
export interface AdapterPiece {
  layer: number;
  matrix: LayerMatrix;
  /** First output that it changes. */
  row: number;
  rank: number;
  N: number;
  K: number;
}

type Layers = Partial<Record<LayerMatrix, LowRank[]>>[];

const noLayers = (c: ModelConfig): Layers => Array.from({ length: c.layers }, () => ({}));

export class AdapterMemoryError extends Error {
  override name = 'AdapterMemoryError';
}

const MAX_RANK = 1024;
const ALIGN = 64;
const MB = (n: number): string => `${(n / 1048576).toFixed(2)} MB`;

/** Bytes of a piece. */
export const pieceBytes = ({ rank, N, K }: Pick<AdapterPiece, 'rank' | 'N' | 'K'>): number => rank * (N + K) * 4;
const reserved = (p: AdapterPiece): number => Math.ceil(pieceBytes(p) / ALIGN) * ALIGN;
/** What an adapter takes of the memory for adapters. */
export const adapterBytes = (pieces: readonly AdapterPiece[]): number => pieces.reduce((n, p) => n + reserved(p), 0);

/** Memory for adapters; none where no bytes are wanted. */
export const allocAdapters = (be: Allocator, bytes: number): Buf | undefined => (bytes > 0 ? be.alloc(bytes, 'adapters') : undefined);

/** Throws RangeError unless every piece is one of a model of this configuration. */
export function checkPieces(c: ModelConfig, pieces: readonly AdapterPiece[]): void {
  if (pieces.length === 0) throw new RangeError('the adapter changes nothing');
  const shapes = new Map(tensorList(c).map((t) => [t.name, t.shape]));
  for (const { layer, matrix, row, rank, N, K } of pieces) {
    const where = `layers.${layer}.${matrix}`;
    const shape = LAYER_MATRICES.includes(matrix) ? shapes.get(where) : undefined;
    if (!shape) throw new RangeError(`the adapter changes ${where}, which this model does not have`);
    const whole = [row, rank, N, K].every((n) => Number.isSafeInteger(n) && n >= 0);
    if (!whole || N === 0 || row + N > shape[0] || K !== shape[1])
      throw new RangeError(`the adapter has ${N} × ${K} from row ${row} of ${where}, which is ${shape.join(' × ')}`);
    if (rank < 1 || rank > MAX_RANK) throw new RangeError(`the adapter has rank ${rank} at ${where}, must be 1 to ${MAX_RANK}`);
    if (K % 4 !== 0) throw new RangeError(`${where} has ${K} inputs, adapters want a multiple of 4`);
  }
}

/** Memory for adapters on a backend. */
interface AdapterMemory {
  be: Backend;
  data: Buf;
}

/** An adapter's pieces and their bytes, as Adapters.load takes them. */
export interface AdapterNumbers {
  pieces: readonly AdapterPiece[];
  read: (i: number) => Promise<Uint8Array> | Uint8Array;
}

/** The adapters of a runner, by id (a digest of their numbers), each in one piece of the memory. */
export class Adapters {
  private readonly config: ModelConfig;
  private readonly bytes: number;
  private readonly backend?: AdapterMemory;
  private readonly held = new Map<string, { from: number; to: number; adapter?: Adapter }>();

  /** On a backend; or bytes alone, where the numbers are in stages elsewhere, which have as much memory for them. Throws where the backend has no adapters. */
  constructor(config: ModelConfig, memory: AdapterMemory | { bytes: number }) {
    this.config = config;
    this.bytes = 'be' in memory ? memory.data.bytes : memory.bytes;
    if (!('be' in memory)) return;
    if (!memory.be.addLowRank) throw new Error(`adapters do not run on ${memory.be.name}`);
    this.backend = memory;
  }

  get ids(): string[] {
    return [...this.held].flatMap(([id, { adapter }]) => (adapter ? [id] : []));
  }

  /** Bytes in all, and how many of them are taken. */
  get memory(): { total: number; used: number } {
    return { total: this.bytes, used: [...this.held.values()].reduce((n, { from, to }) => n + to - from, 0) };
  }

  get(id: string): Adapter | undefined {
    return this.held.get(id)?.adapter;
  }

  /**
   * Loads an adapter; `read` gives the bytes of piece i. Steps may run meanwhile. Throws RangeError for what is no adapter of this model, and
   * AdapterMemoryError with the arithmetic when there is no room beside those that are here.
   */
  async load(id: string, pieces: readonly AdapterPiece[], read: AdapterNumbers['read']): Promise<Adapter> {
    if (this.held.has(id)) throw new RangeError(`adapter ${id} is already here`);
    checkPieces(this.config, pieces);
    const from = this.place(adapterBytes(pieces));
    const holding: { from: number; to: number; adapter?: Adapter } = { from, to: from + adapterBytes(pieces) };
    this.held.set(id, holding);
    try {
      const layers = noLayers(this.config);
      if (this.backend) await this.put(this.backend, pieces, read, from, layers);
      holding.adapter = { id, layers };
      return holding.adapter;
    } catch (error) {
      this.held.delete(id);
      throw error;
    }
  }

  private async put(
    { be, data }: AdapterMemory,
    pieces: readonly AdapterPiece[],
    read: AdapterNumbers['read'],
    from: number,
    layers: Layers,
  ) {
    let at = from;
    for (const [i, p] of pieces.entries()) {
      const bytes = await read(i);
      if (bytes.byteLength !== pieceBytes(p))
        throw new RangeError(`piece ${i} of the adapter has ${bytes.byteLength} bytes, not ${pieceBytes(p)}`);
      be.write(data, bytes, at);
      const { layer, matrix, row, rank, N, K } = p;
      (layers[layer][matrix] ??= []).push({ data, at, rank, row, N, K });
      at += reserved(p);
    }
  }

  /** Gives its memory back; no sequence may have it. */
  free(id: string): void {
    this.held.delete(id);
  }

  /** Whether an adapter of so many bytes has room now. */
  fits(bytes: number): boolean {
    return this.gap(bytes) !== undefined;
  }

  private place(bytes: number): number {
    const at = this.gap(bytes);
    if (at !== undefined) return at;
    const { total, used } = this.memory;
    throw new AdapterMemoryError(
      `the adapter needs ${MB(bytes)}: of ${MB(total)} for adapters ${MB(used)} are taken by ${this.held.size}. Set ADAPTERS_MB where there is more.`,
    );
  }

  /** The first gap of that size. */
  private gap(bytes: number): number | undefined {
    let at = 0;
    for (const { from, to } of [...this.held.values()].sort((a, b) => a.from - b.from)) {
      if (from - at >= bytes) return at;
      at = to;
    }
    return this.bytes - at >= bytes ? at : undefined;
  }
}
