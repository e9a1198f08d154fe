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

  /** The bytes of a page by its number in the pool. */
  abstract readPage(page: number): Promise<Uint8Array>;
  /** Puts the bytes of a page by its number; whatever runs afterwards finds them. */
  abstract writePage(page: number, bytes: Uint8Array): void;

  /** The bytes of a cached page, or undefined when it is not here. */
  async exportPage(name: string): Promise<Uint8Array | undefined> {
    const page = this.pool.take(name);
    if (page === undefined) return undefined;
    try {
      return await this.readPage(page);
    } catch (error) {
      if (error instanceof PagesLost) return undefined;
      throw error;
    } finally {
      this.pool.release(page);
    }
  }

  /**
   * Puts a page computed elsewhere under its name, as cached; the caller has checked its digest. False when no page is free. Throws RangeError
   * when it is no page of this model.
   */
  importPage(name: string, bytes: Uint8Array): boolean {
    const { kv, pool } = this;
    if (bytes.byteLength !== kv.pageBytes) {
      throw new RangeError(`page ${name} has ${bytes.byteLength} bytes, a page of this model has ${kv.pageBytes}`);
    }
    if (pool.has(name)) return true;
    const page = pool.alloc();
    if (page === undefined) return false;
    this.writePage(page, bytes);
    pool.publish(page, name);
    pool.release(page);
    return true;
  }
}
