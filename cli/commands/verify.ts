/** `turnstone verify`: whether the shipped models are those that were published. */
import { verify as checks, createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../build.ts';

/** `openssl pkeyutl` makes and checks the same signature: Ed25519 over the list's bytes, base64 in a file. */
export const LIST = 'SHA256SUMS';
export const SIGNATURE = 'SHA256SUMS.sig';

export interface VerifyFlags {
  /** A public key in PEM that the list must be signed with. */
  key?: string;
  json?: boolean;
}

/**
 * Holds every shipped file to the list of digests, and the list to its signature where a key is given. Rejects naming what is
 * changed, missing, or not signed with that key. `folder`: where the models are.
 */
export function verifyCommand(o: VerifyFlags = {}, say: (line: string) => void = console.log, folder = join(ROOT, 'models')): void {
  const list = readFileSync(join(folder, LIST));
  const signed = o.key !== undefined && checkSignature(list, folder, o.key);
  const files = list
    .toString('utf8')
    .trim()
    .split('\n')
    .map((line) => {
      const [, digest, path] = /^([0-9a-f]{64}) [ *](\S+)$/.exec(line) ?? [];
      if (!digest || !path || path.includes('..')) throw new Error(`${LIST}: not a line of digests: ${line.slice(0, 100)}`);
      return { path, digest };
    });
  for (const { path, digest } of files) {
    const full = join(folder, path);
    if (!existsSync(full)) throw new Error(`${path} is missing`);
    const found = createHash('sha256').update(readFileSync(full)).digest('hex');
    if (found !== digest) throw new Error(`${path} is not what was published: SHA-256 ${found}, the list says ${digest}`);
  }
  if (o.json) {
    say(JSON.stringify({ files, signed }, null, 2));
    return;
  }
  for (const { path, digest } of files) say(`${digest.slice(0, 16)}…  ${path}`);
  say(
    `${files.length} files are those of the list${signed ? ', which is signed with that key' : '; its signature was not asked for (--key)'}`,
  );
}

function checkSignature(list: Buffer, folder: string, key: string): true {
  const path = join(folder, SIGNATURE);
  if (!existsSync(path)) throw new Error(`${LIST} is not signed here: there is no ${SIGNATURE}`);
  const signature = Buffer.from(readFileSync(path, 'utf8'), 'base64');
  if (!checks(null, list, readFileSync(key), signature)) throw new Error(`${LIST} is not signed with the key ${key}`);
  return true;
}
