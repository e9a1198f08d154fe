import type { Act, Allocator, Buf, KvPool } from '../../engine/backend.ts';
import { pageBytes } from '../../engine/layout.ts';
import { actBytes } from './buffers.ts';

/** Bytes a buffer takes on the device. */
export const reserved = (bytes: number): number => Math.max(16, Math.ceil(bytes / 16) * 16);

/** Stands in for the backend in a memory plan: the same allocations, only added up. */
export function countWebGpu(): Allocator & { readonly used: number } {
  let used = 0;
  const alloc = (bytes: number, label: string): Buf => {
    used += reserved(bytes);
    return { label, bytes };
  };
  return {
    get used() {
      return used;
    },
    alloc,
    act: (format, rows, K, label): Act => ({ format, rows, K, data: alloc(actBytes(format, rows, K), label) }),
    kvPool: (shape, pages): KvPool => ({ shape, pages, pageBytes: pageBytes(shape), data: alloc(pages * pageBytes(shape), 'kv pages') }),
  };
}
