/**
 * Where the server's processes listen to each other: Unix sockets in a folder that only this user may enter. No other user, and
 * no web page, can reach them; the one TCP port is the server's own.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export class Sockets {
  readonly folder: string;

  constructor() {
    if (process.platform === 'win32') throw new Error('Turnstone serves on Linux and macOS; on Windows, run it in WSL.');
    this.folder = mkdtempSync(join(tmpdir(), 'turnstone-')); // mode 0700
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  /** As workerd writes it. */
  address(name: string): string {
    return `unix:${this.path(name)}`;
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}
