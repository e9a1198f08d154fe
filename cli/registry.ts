/** A folder for Miniflare's registry, in which processes find each other: of this launcher alone, and kept alive. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const KEEP_MS = 1_000;

export class Registry {
  readonly folder = mkdtempSync(join(tmpdir(), 'turnstone-registry-'));
  readonly #known = new Map<string, string>();
  readonly #timer = setInterval(() => this.#keep(), KEEP_MS).unref();

  readonly #remove = () => rmSync(this.folder, { recursive: true, force: true });

  constructor() {
    process.once('exit', this.#remove);
  }

  close(): void {
    clearInterval(this.#timer);
    process.off('exit', this.#remove);
    this.#remove();
  }

  /** Miniflare throws away entries of more than five minutes ago and never writes them again: so all would be gone after a machine has slept. */
  #keep(): void {
    const now = new Date();
    try {
      for (const name of readdirSync(this.folder))
        this.#known.set(name, readFileSync(join(this.folder, name), 'utf8') || (this.#known.get(name) ?? ''));
      for (const [name, text] of this.#known) {
        const path = join(this.folder, name);
        if (!existsSync(path)) writeFileSync(path, text);
        utimesSync(path, now, now);
      }
    } catch {
      // an entry was being replaced; the next time will do
    }
  }
}
