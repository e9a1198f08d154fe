import { createHash } from 'node:crypto';
import { mkdir, open, stat, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { ModelFileError } from '../error.ts';
import { openGguf } from '../gguf/open.ts';
import { openHf } from '../hf/open.ts';
import { type Adapter, openGgufAdapter, openPeft } from '../lora.ts';
import type { ModelFiles } from '../model.ts';
import type { NewHasher } from '../pack/hash.ts';
import type { PackSource } from '../pack/source.ts';
import type { PackSink } from '../pack/write.ts';
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
        if (bytesRead === 0) throw new ModelFileError(path, 'became shorter while it was read', offset + done);
        done += bytesRead;
      }
      return out;
    },
    close: () => handle.close(),
  };
}

/** A model on disk, whatever its kind: a GGUF file or a Hugging Face folder. Close it when its tensors have been read. */
export const openModel = (path: string): Promise<ModelFiles & Closable> => opened(path, openGguf, openHf);

/** An adapter on disk: PEFT's folder or a GGUF file. Close it when the model's tensors have been read. */
export const openAdapter = (path: string): Promise<Adapter & Closable> => opened(path, openGgufAdapter, openPeft);

interface Closable {
  close(): Promise<void>;
}

/** What is read lazily from a file or from the files of a folder. Where it cannot be, nothing stays open. */
async function opened<T>(
  path: string,
  ofFile: (source: Source) => Promise<T>,
  ofFolder: (folder: { name: string; open(file: string): Promise<Source | undefined> }) => Promise<T>,
): Promise<T & Closable> {
  const files: Closable[] = [];
  const source = async (file: string) => {
    const s = await fileSource(file);
    files.push(s);
    return s;
  };
  const close = async () => {
    await Promise.all(files.map((s) => s.close()));
  };
  try {
    if (!(await stat(path)).isDirectory()) return { ...(await ofFile(await source(path))), close };
    const open = async (file: string) => ((await exists(join(path, file))) ? source(join(path, file)) : undefined);
    return { ...(await ofFolder({ name: basename(path), open })), close };
  } catch (e) {
    await close();
    throw e;
  }
}

const exists = (path: string) =>
  stat(path).then(
    (s) => s.isFile(),
    () => false,
  );

/** A folder with a pack's files. */
export function folderPack(folder: string): PackSource {
  return {
    async open(name, offset = 0, length = Number.POSITIVE_INFINITY) {
      const handle = await open(join(folder, name), 'r').catch(() => {
        throw new ModelFileError(`file "${name}"`, `is not in ${folder}`);
      });
      let at = offset;
      return new ReadableStream({
        type: 'bytes',
        async pull(controller) {
          const request = controller.byobRequest;
          const view = (request?.view as Uint8Array<ArrayBuffer> | undefined) ?? new Uint8Array(1 << 20);
          const want = Math.min(view.length, offset + length - at);
          const { bytesRead } = want > 0 ? await handle.read(view, 0, want, at) : { bytesRead: 0 };
          at += bytesRead;
          if (bytesRead === 0) {
            await handle.close();
            controller.close();
            request?.respond(0);
          } else if (request) request.respond(bytesRead);
          else controller.enqueue(view.subarray(0, bytesRead));
        },
        cancel: () => handle.close(),
      });
    },
  };
}

/** Writes a pack's files into a folder, which is made. */
export function folderSink(folder: string): PackSink {
  return {
    async write(name, bytes) {
      await mkdir(folder, { recursive: true });
      await writeFile(join(folder, name), bytes);
    },
  };
}

/** Node's SHA-256, several times faster than JavaScript's. */
export const nodeHasher: NewHasher = () => {
  const h = createHash('sha256');
  return {
    update: (bytes) => {
      h.update(bytes);
    },
    digest: () => h.digest('hex'),
  };
};
