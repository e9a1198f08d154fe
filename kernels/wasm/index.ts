/**
 * The contract on WebAssembly SIMD: exact-1 to the bit, in one memory that is allocated once.
 * Ops run at once, in calls short enough that the engine replaces their first, unoptimized code.
 */
import type { Backend } from '../../engine/backend.ts';
import { attention } from './attention.ts';
import { editLogits, topk } from './logits.ts';
import { addLowRank } from './low-rank.ts';
import { matmul, products, type Way, wayOf } from './matmul.ts';
import { createMemory } from './memory.ts';
import { instantiate, type WasmModules } from './module.ts';
import { need, ptr } from './pointers.ts';
import { ropeStore } from './rope-store.ts';
import { addNorm, embed, gates, glu, lookups, norm } from './rows.ts';
import { shortConv } from './short-conv.ts';
import { warmup } from './warmup.ts';

export { countWasm } from './memory.ts';
export { detectRelaxed, type WasmModules } from './module.ts';

export interface WasmOptions {
  /** The modules built by wasm/build.mjs; `relaxed` is used where the engine knows relaxed SIMD. */
  modules: WasmModules;
  /** What all allocations take: `countWasm().used` after the same allocations. */
  memoryBytes: number;
  /** How bytes are multiplied; default: the fastest way that this machine has. For tests: every way gives the same bits, but 'u8' only where the machine has it. */
  way?: Way;
}

export interface WasmBackend extends Backend {
  readonly variant: 'relaxed' | 'simd';
  readonly way: Way;
  /** Bytes handed out, and the limit. */
  memory(): { used: number; capacity: number };
  /** Runs every kernel a little, so that the first request finds optimized code; about 20 ms. Call it before, or beside, loading weights. */
  warmup(): void;
}

/** Throws when `memoryBytes` cannot be had, or when the engine has no SIMD. */
export function createWasm({ modules, memoryBytes, way: asked }: WasmOptions): WasmBackend {
  const { memory, bump } = createMemory(memoryBytes);
  const { kernels, variant } = instantiate(modules, memory);
  const way = asked ?? wayOf(kernels);
  const [lookup, product, gate] = [lookups(kernels), products(kernels, way), gates(kernels)];
  const bytes = new Uint8Array(memory.buffer);
  const words = new Uint32Array(memory.buffer);
  const floats = new Float32Array(memory.buffer);

  return {
    name: `wasm-${variant}`,
    numerics: 'exact-1',
    variant,
    way,
    memory: () => ({ used: bump.used, capacity: bump.capacity }),

    warmup: () => warmup(kernels, product),

    alloc: (size, label) => bump.alloc(size, label),
    act: (format, rows, K, label) => bump.act(format, rows, K, label),
    kvPool: (shape, pages) => bump.kvPool(shape, pages),

    embed: (...args) => embed(kernels, lookup, words, ...args),
    norm: (out, x, g, eps, n, D, rows) => norm(kernels, out, x, g, eps, n, D, rows),
    matmul: (y, x, w, T, opts) => matmul(product, y, x, w, T, opts),
    addLowRank: (...args) => addLowRank(kernels, ...args),
    ropeStore: (...args) => ropeStore(kernels, words, ...args),
    attention: (...args) => attention(kernels, words, ...args),
    shortConv: (...args) => shortConv(kernels, words, ...args),
    glu: (out, gateUp, T, F, activation) => glu(gate[activation], out, gateUp, T, F),
    addNorm: (...args) => addNorm(kernels, ...args),
    editLogits: (...args) => editLogits(kernels, ...args),
    topk: (...args) => topk(kernels, floats, ...args),
    copyPages(kv, pairs) {
      const pool = ptr(kv.data);
      for (let i = 0; i < pairs.length; i += 2) {
        const [from, to] = [pairs[i], pairs[i + 1]];
        if (from >= kv.pages || to >= kv.pages) throw new Error(`copyPages: ${from} to ${to} is outside the pool of ${kv.pages} pages`);
        bytes.copyWithin(pool + to * kv.pageBytes, pool + from * kv.pageBytes, pool + (from + 1) * kv.pageBytes);
      }
    },

    write(buf, data, offset = 0) {
      if (offset < 0) throw new Error(`write: offset ${offset}`);
      need('write', buf, offset + data.length);
      bytes.set(data, ptr(buf) + offset);
    },
    async submit() {},
    async read(buf, offset, size) {
      if (offset < 0) throw new Error(`read: offset ${offset}`);
      need('read', buf, offset + size);
      return bytes.slice(ptr(buf) + offset, ptr(buf) + offset + size);
    },
    dispose() {
      bump.used = Infinity;
    },
  };
}
