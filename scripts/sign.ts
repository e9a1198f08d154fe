/** `npx tsx scripts/sign.ts KEY.pem`: signs the list of the shipped models' digests for a release. The key stays with who releases. */
import { join } from 'node:path';
import { ROOT } from '../cli/build.ts';
import { SIGNATURE } from '../cli/commands/verify.ts';
import { signList } from '../cli/sign.ts';

const [key] = process.argv.slice(2);
if (!key) throw new Error('give the file of an Ed25519 key: openssl genpkey -algorithm ed25519 -out KEY.pem');
signList(key, join(ROOT, 'models'));
console.log(`models/${SIGNATURE} is written`);
