/**
 * The contract between the engine and whatever computes: reference, wasm, webgpu, npu.
 *
 * Ops record work on preallocated buffers and return nothing. wasm runs them at once, WebGPU fills one command
 * encoder, the NPU builds one command buffer. Only `submit` and `read` are awaited, and they reject when the device
 * is lost. NUMERICS.md states what every op computes, to the bit for backends whose numerics id is `exact-1`.
 *
 * What adding an op touches stands in ARCHITECTURE.md; a case in tests/kernels/cases holds it on every backend.
 */
import type { PlaneName } from './planes.ts';

/** Memory of a backend. `bytes` is its size; what is inside is the op's business. */
export interface Buf {
  readonly label: string;
  readonly bytes: number;
}

/** How a matrix's numbers are stored; engine/formats.ts has a row for each, and every backend a record over all of them. */
export type WeightFormat = 'f32' | 'w8' | 'w4' | PlaneName;

/** A matrix [N, K] in the kernel layout of its format (engine/formats.ts). */
export interface Weight {
  readonly format: WeightFormat;
  readonly N: number;
  readonly K: number;
  readonly data: Buf;
}

/**
 * What an adapter adds to outputs [row, row + N) of a matrix with K inputs: (x · aᵀ) · b. In `data`, from byte `at` on: a f32 [rank, K], then
 * b f32 [rank, N], the adapter's own factor multiplied in. K is a multiple of 4.
 */
export interface LowRank {
  readonly data: Buf;
  readonly at: number;
  readonly rank: number;
  readonly row: number;
  readonly N: number;
  readonly K: number;
}

export type ActFormat = 'f32' | 'i8';

/** Activations [T, K] as a matmul wants them: f32, or i8 with an f32 scale per block of 32. The inner layout is the backend's own. */
export interface Act {
  readonly format: ActFormat;
  readonly rows: number; // capacity in tokens
  readonly K: number;
  readonly data: Buf;
}

/** How pages hold numbers: i8v4 has keys as i8 does and values of 4 bits. */
export type KvFormat = 'i8' | 'i8v4' | 'f32';

/** Shape of a KV pool; the byte layout of a page is in engine/layout.ts and is the same on every backend. */
export interface KvShape {
  readonly format: KvFormat;
  readonly layers: number; // that attend
  readonly kvHeads: number; // G
  readonly headDim: number; // d
  /** Layers that convolve, where there are some, and numbers that one keeps of a token. */
  readonly convs?: { readonly layers: number; readonly width: number };
}

export interface KvPool {
  readonly shape: KvShape;
  readonly pages: number;
  readonly pageBytes: number;
  readonly data: Buf; // [pages, pageBytes]
}

/** An adapter that is loaded: what it adds to each matrix of each layer. */
export interface Adapter {
  readonly id: string;
  /** By the matrix's name (anatomy.ts). */
  readonly layers: readonly { readonly [matrix: string]: readonly LowRank[] | undefined }[];
}

/** Tokens [from, to) of a batch, whose sequences have the same adapter. */
export interface Adapted {
  readonly from: number;
  readonly to: number;
  readonly adapter: Adapter;
}

/** A ragged batch: T tokens of S sequences, R of which want logits. All buffers are u32 and hold at least the true counts. */
export interface Batch {
  T: number;
  S: number;
  R: number;
  /** Ranges of its tokens that have an adapter; the others come first. */
  readonly adapted?: readonly Adapted[];
  readonly ids: Buf; // [T] token ids
  readonly pos: Buf; // [T] position in its sequence
  readonly slot: Buf; // [T] page · 16 + pos % 16: where its key and value go
  readonly seqOf: Buf; // [T] row of `blocks`
  readonly blocks: Buf; // [S, maxBlocks] block tables: page numbers
  readonly maxBlocks: number;
  readonly rows: Buf; // [R] which of the T tokens want logits
  /** The same tokens in the pool of layers that slide, where these have one: `slot` and `blocks` are of that pool. */
  readonly slid?: Batch;
}

/** One edit of a logit, 16 bytes in the buffer: row u32, id u32, rep f32, add f32. x = x > 0 ? x / rep : x · rep; x = x + add. */
export const EDIT_BYTES = 16;

/**
 * Best tokens of each row, ties to the lowest id, and what a softmax over the row needs. One buffer, so that a decode
 * step reads back once: row r starts at r · (2K + 2) · 4 bytes and holds
 *   ids u32 [K], vals f32 [K] = logit · invTemp descending, max f32, sum f32 = Σ exp(logit · invTemp − max)
 */
export interface TopkOut {
  readonly K: number; // at most 64
  readonly data: Buf;
  /** What the sum is made of, for rows that go on elsewhere: max and sum f32 of each SUM_BLOCK ids, [R, ceil(V / SUM_BLOCK), 2]. CPU backends only. */
  readonly blocks?: Buf;
}

/** Ids whose exponentials are summed with a maximum of their own (NUMERICS.md): where a row of logits may be cut without a bit changing. */
export const SUM_BLOCK = 256;

/** How a layer attends, where it is not all positions with 1 / √d. */
export interface AttentionOptions {
  /** What scores are multiplied by; 1 / √d unless given. */
  scale?: number;
  /** Positions that a query sees, its own included; all before it unless given. */
  window?: number;
}

/** What the gate of a feed-forward goes through: silu x · sigmoid(x), gelu its approximation with tanh. */
export type Activation = 'silu' | 'gelu';
export const ACTIVATIONS: readonly Activation[] = ['silu', 'gelu'];

/** What allocates: a backend, or a counter that only adds up (for the memory plan). */
export interface Allocator {
  /** Zeroed memory, never moved. Throws with the arithmetic when it does not fit. */
  alloc(bytes: number, label: string): Buf;
  act(format: ActFormat, rows: number, K: number, label: string): Act;
  kvPool(shape: KvShape, pages: number): KvPool;
}

export interface Backend extends Allocator {
  readonly name: string;
  /** `exact-1`: bits as in NUMERICS.md. Any other id: within its stated tolerance, and its pages stay in their own session. */
  readonly numerics: string;

  /** x[T, D] = rows `ids` of w[V, D], times `scale` when given. */
  embed(x: Buf, w: Weight, ids: Buf, T: number, scale?: number): void;
  /** out[n, D] = RMSNorm(x) · g, quantized when `out` is i8. With `rows`, out[i] comes from x[rows[i]] (n = number of rows). */
  norm(out: Act, x: Buf, g: Buf, eps: number, n: number, D: number, rows?: Buf): void;
  /** y[T, N] = x · wᵀ, + bias[N] when given, and added to y instead of replacing it when `accumulate`. Act must be what the weight's format wants. */
  matmul(y: Buf, x: Act, w: Weight, T: number, opts?: { bias?: Buf; accumulate?: boolean }): void;
  /** y[t, row + n] += what an adapter adds for tokens [from, to) of x; y has `stride` numbers a token. Absent: adapters do not run here. */
  addLowRank?(y: Buf, stride: number, x: Act, w: LowRank, from: number, to: number): void;
  /**
   * Norms (optional), rotates and stores: qkv[T, (H+2G)·d] → q[T, H·d] and the keys and values of `layer` into their pages. `table` is f32
   * [context, d]: d/2 cosines, then d/2 sines. With `balance`, f32 [2, G·d] offsets and scales of the rotated key heads (balance.ts), the page
   * gets (key − offset) / scale, and queries are multiplied by the scale of their kv head.
   */
  ropeStore(
    q: Buf,
    kv: KvPool,
    qkv: Buf,
    table: Buf,
    batch: Batch,
    layer: number,
    heads: number,
    qkNorm?: { q: Buf; k: Buf; eps: number },
    balance?: Buf,
  ): void;
  /** out[T, H·d]: causal attention of q over the pages of each token's sequence, positions 0..pos inclusive or the last `window` of them. */
  attention(out: Act, q: Buf, kv: KvPool, batch: Batch, layer: number, heads: number, opts?: AttentionOptions): void;
  /**
   * Gated short convolution (LFM2): out[t, k] = c · Σⱼ taps[j, k] · u[t − L + 1 + j, k] with u = b · x of bcx[T, 3D], rows of b, c and x, and
   * taps f32 [L, D], over the tokens of each sequence. u goes into the pages of convolution `layer`, and what is before a token comes from
   * there. Backends without it cannot run models that have such layers.
   */
  shortConv?(out: Act, kv: KvPool, bcx: Buf, taps: Buf, batch: Batch, layer: number, L: number): void;
  /** out[T, F] = activation(gate) · up of gateUp[T, 2F]. */
  glu(out: Act, gateUp: Buf, T: number, F: number, activation: Activation): void;
  /** x[T, D] += RMSNorm(y) · g. */
  addNorm(x: Buf, y: Buf, g: Buf, eps: number, T: number, D: number): void;
  /** Edits in place (`edits` sorted by row, then id, each pair once), then bans: a 0 bit in mask[R, ceil(V/32)] makes -inf. */
  editLogits(logits: Buf, R: number, V: number, edits: Buf | null, E: number, mask: Buf | null): void;
  /** Top K of logits[R, V] · invTemp[R] with softmax statistics. */
  topk(out: TopkOut, logits: Buf, invTemp: Buf, R: number, V: number): void;
  /** Copies whole pages inside the pool: pairs[n, 2] = from, to. */
  copyPages(kv: KvPool, pairs: Uint32Array): void;

  write(buf: Buf, bytes: Uint8Array, offset?: number): void;
  /** Runs what was recorded. */
  submit(): Promise<void>;
  /** Submits, then copies bytes out. */
  read(buf: Buf, offset: number, bytes: number): Promise<Uint8Array>;
  /** Frees everything; the backend is unusable afterwards. */
  dispose(): void;
}
