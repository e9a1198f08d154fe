import { open } from 'node:fs/promises';
import { checkRange, type Source } from '../source.ts';

/** A file on disk as a Source. Close it when done. */
export async function fileSource(path: string): Promise<Source & { close(): Promise<void> }> {
  const handle = await open(path, 'r');
  const { size } = await handle.stat();
  return {
    name: path,
    size,
    async read(offset, length) {
      checkRange(path, size, offset, length);
      const out = new Uint8Array(length);
      let done = 0;
      while (done < length) {
        const { bytesRead } = await handle.read(out, done, length - done, offset + done);
        if (bytesRead === 0) throw new Error(`${path} became shorter while it was read`);
        done += bytesRead;
      }
      return out;
    },
    close: () => handle.close(),
  };
}
