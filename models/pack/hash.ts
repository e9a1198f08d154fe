import { sha256 } from '@noble/hashes/sha2.js';

/** A running SHA-256. */
export interface Hasher {
  /** The bytes may be changed once the promise, if any, has resolved. */
  update(bytes: Uint8Array): void | Promise<void>;
  /** 64 hexadecimal digits. */
  digest(): string | Promise<string>;
}

export type NewHasher = () => Hasher;

interface DigestStream extends WritableStream<Uint8Array> {
  readonly digest: Promise<ArrayBuffer>;
}

/** The platform's own streaming SHA-256 where there is one (`crypto.DigestStream` in Workers), otherwise JavaScript's. Node has a faster one: models/node/files.ts. */
export const defaultHasher: NewHasher = () => {
  const { DigestStream } = crypto as { DigestStream?: new (algorithm: string) => DigestStream };
  return DigestStream ? streamHasher(new DigestStream('SHA-256')) : jsHasher();
};

function streamHasher(stream: DigestStream): Hasher {
  const writer = stream.getWriter();
  stream.digest.catch(() => {}); // a reader that gives up leaves the digest unfinished
  return {
    update: (bytes) => writer.write(bytes),
    async digest() {
      await writer.close();
      return hex(new Uint8Array(await stream.digest));
    },
  };
}

function jsHasher(): Hasher {
  const h = sha256.create();
  return {
    update: (bytes) => {
      h.update(bytes);
    },
    digest: () => hex(h.digest()),
  };
}

export const hex = (bytes: Uint8Array): string => Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');

/** SHA-256 of bytes as 64 hexadecimal digits. */
export const sha256Hex = (bytes: Uint8Array): string => hex(sha256(bytes));
