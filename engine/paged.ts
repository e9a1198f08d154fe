import type { KvPool } from './backend.ts';
import type { PagePool } from './pages.ts';

/** What pages held is gone: nothing is wrong with any sequence, and each computes its own again. */
export class PagesLost extends Error {
  override name = 'PagesLost';
}

/** Pages by their names in a pool, wherever their bytes are. */
export abstract class Paged {
  abstract readonly pool: PagePool;
  abstract readonly kv: Pick<KvPool, 'shape' | 'pageBytes'>;
  /** Bytes of a page that has lost the part of layers that slide. */
  abstract readonly keptBytes: number;

  /** The bytes of a page by its number in the pool: all, or `keptBytes` where it has lost a part. */
  abstract readPage(page: number): Promise<Uint8Array>;
  /** Puts the bytes of a page by its number; whatever runs afterwards finds them. */
  abstract writePage(page: number, bytes: Uint8Array): void;

  /** The bytes of a cached page, `keptBytes` of them when its window has left it, or undefined when it is not here. */
  async exportPage(name: string): Promise<Uint8Array | undefined> {
    const { pool } = this;
    const page = pool.take(name);
    if (page === undefined) return undefined;
    const whole = pool.see(page);
    try {
      return await this.readPage(page);
    } catch (error) {
      if (error instanceof PagesLost) return undefined;
      throw error;
    } finally {
      if (whole) pool.leave(page);
      pool.release(page);
    }
  }

  /**
   * Puts a page computed elsewhere under its name, as cached, with all its parts or without that of layers that slide; the caller has checked
   * its digest. False when no page is free. Throws RangeError when it is no page of this model.
   */
  importPage(name: string, bytes: Uint8Array): boolean {
    const { kv, pool, keptBytes } = this;
    const whole = bytes.byteLength === kv.pageBytes;
    if (!whole && bytes.byteLength !== keptBytes) {
      const or = keptBytes < kv.pageBytes ? `, or ${keptBytes} behind its windows` : '';
      throw new RangeError(`page ${name} has ${bytes.byteLength} bytes, a page of this model has ${kv.pageBytes}${or}`);
    }
    if (whole ? pool.whole(name) : pool.has(name)) return true;
    const page = pool.alloc(whole);
    if (page === undefined) return false;
    this.writePage(page, bytes);
    pool.publish(page, name);
    if (whole) pool.leave(page);
    pool.release(page);
    return true;
  }
}
