import { sign } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LIST, SIGNATURE, verifyCommand } from './commands/verify.ts';

/** Signs the list of digests in `folder` with the Ed25519 key in that file (PEM). Rejects where a file is not what the list says. */
export function signList(privateKey: string, folder: string): void {
  verifyCommand({}, () => {}, folder); // nothing is signed that is not there
  writeFileSync(join(folder, SIGNATURE), `${sign(null, readFileSync(join(folder, LIST)), readFileSync(privateKey)).toString('base64')}\n`);
}
