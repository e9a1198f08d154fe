/** `turnstone deploy`: a model to a Cloudflare account, with all that it needs there. */
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { folderPack } from '../../models/node/files.ts';
import { openPack } from '../../models/pack/load.ts';
import { costOf } from '../../policy/cost.ts';
import { isolatesOf } from '../../policy/stages.ts';
import { build, INSTALLED, ROOT } from '../build.ts';
import { cutPack } from '../cut.ts';
import { checkName, type Script, writeDeployment } from '../deploy-stages.ts';
import { findModel } from '../hub/find.ts';
import { localPack } from '../packs.ts';
import { size, table } from '../table.ts';
import { runWrangler, type Wrangler } from '../wrangler.ts';

export interface DeployFlags {
  name: string;
  out?: string;
  format?: string;
  stages?: number;
  context?: number;
  dryRun?: boolean;
}

const BUCKET = 'turnstone-packs'; // as the configurations bind it
const UPLOADED = 'uploaded.json';
/** What an isolate of each script holds at most; what a replica and a stage take is planned before they load (engine/plan.ts). */
const MOST: Record<Script['holds'], string> = {
  'a stage': 'its layers, their pages, scratch',
  replicas: 'weights, pages, scratch, JavaScript: as planned',
  'sessions, queue': 'transcripts of what runs (8 MB each at most), an index of pages, 1 MiB a reader, the queue',
  'routes, page': 'request bodies, as long as the context can hold',
};
type Say = (line: string) => void;

/** Says what it will do and what that costs, tries every script, then does it. Rejects with what to do; done again it goes on where it ended. */
export async function deployCommand(model: string | undefined, o: DeployFlags, say: Say = console.log, wrangler: Wrangler = runWrangler) {
  if (INSTALLED) throw new Error('deploy works in a clone of Turnstone; a Worker of your own (turnstone init) has npm run deploy');
  checkName(o.name);
  const found = await findModel(model, { memoryMb: 128 });
  const pack = await localPack(found?.path, say, o.format, found?.id);
  const vars: Record<string, string> = o.context === undefined ? {} : { CONTEXT: String(o.context) };
  const plan = await cutPack(pack, vars, o.stages, say);
  const out = resolve(o.out ?? join(ROOT, '.wrangler/deploy', o.name));
  const scripts = writeDeployment({ model: pack.id, plan, out, name: o.name, vars });
  const { manifest, files } = await packFiles(pack.folder);
  const bytes = files.reduce((n, f) => n + f.bytes, 0);
  const isolates = plan ? isolatesOf(plan) : 1;

  say(`${pack.id}, ${size(bytes)}, in ${isolates} isolate${isolates > 1 ? 's' : ''} of 128 MB a replica:\n`);
  const rows = scripts.map(({ name, holds, path }) => [name, holds, MOST[holds], short(path)]);
  for (const line of table(['script', 'holds', 'at most, of 128 MB an isolate', 'configuration'], rows)) say(`  ${line}`);
  say(`  ${files.length} files of the pack (${manifest.tensors.length} tensors) go to the bucket ${BUCKET}, under ${pack.id}/\n`);
  const cost = costOf({ isolates, packBytes: bytes });
  say(`Beyond what the paid plan includes: ${dollars(cost.hour)} an hour of computing, ${dollars(cost.month)} a month for the pack in R2,`);
  say(
    `${isolates > 1 ? `${dollars(cost.thousandSteps)} a thousand tokens of one stream for the calls between stages, ` : ''}and requests (policy/cost.ts has the prices).\n`,
  );

  await build(say, ['wasm', 'page']);
  for (const { name, path } of scripts) {
    const said = await wrangler(['deploy', '--dry-run', '--config', path]);
    say(`  ${name}: ${/Total Upload: .*/.exec(said)?.[0] ?? 'the dry run passes'}`);
  }
  if (o.dryRun) {
    say('\nNothing was changed. Without --dry-run the same is done in your account.');
    return;
  }
  await wrangler(['whoami']).catch(() => {
    throw new Error('no account: npx wrangler login, or set CLOUDFLARE_API_TOKEN and CLOUDFLARE_ACCOUNT_ID');
  });
  await bucket(wrangler, say);
  await upload(wrangler, pack.id, files, join(out, UPLOADED), say);
  for (const { name, first } of scripts) {
    if (!first || (await isThere(wrangler, first))) continue;
    await wrangler(['deploy', '--config', first]); // so that it can be bound
    say(`  ${name} is made`);
  }
  for (const { name, path } of scripts) {
    const said = await wrangler(['deploy', '--config', path]);
    say(`  ${name} is deployed${/https:\/\/\S+/.exec(said)?.[0] ? ` at ${/https:\/\/\S+/.exec(said)?.[0]}` : ''}`);
  }
  await key(wrangler, scripts, say);
}

interface PackFile {
  path: string;
  name: string;
  bytes: number;
  /** SHA-256, or of the manifest its text. */
  digest: string;
}

/** What a pack consists of; the manifest last, so that a pack is there only when it is whole. */
async function packFiles(folder: string) {
  const { manifest } = await openPack(folderPack(folder));
  const file = (name: string, bytes: number, digest: string): PackFile => ({ path: join(folder, name), name, bytes, digest });
  const text = readFileSync(join(folder, 'model.json'), 'utf8');
  const parts = [...manifest.shards, manifest.tokenizer].map((s) => file(s.name, s.bytes, s.sha256));
  return { manifest, files: [...parts, file('model.json', Buffer.byteLength(text), text)] };
}

async function bucket(wrangler: Wrangler, say: Say): Promise<void> {
  const there = await wrangler(['r2', 'bucket', 'info', BUCKET]).then(
    () => true,
    () => false,
  );
  if (there) return;
  await wrangler(['r2', 'bucket', 'create', BUCKET]);
  say(`  the bucket ${BUCKET} is made`);
}

/** What was uploaded before is remembered by its digest and not sent again. */
async function upload(wrangler: Wrangler, model: string, files: readonly PackFile[], record: string, say: Say): Promise<void> {
  const done = new Map(existsSync(record) ? Object.entries(JSON.parse(readFileSync(record, 'utf8')) as Record<string, string>) : []);
  for (const [i, f] of files.entries()) {
    const name = `${BUCKET}/${model}/${f.name}`;
    if (done.get(name) === f.digest) continue;
    say(`  ${i + 1} of ${files.length}: ${f.name}, ${size(f.bytes)}`);
    await wrangler(['r2', 'object', 'put', name, '--file', f.path, '--remote']);
    done.set(name, f.digest);
    mkdirSync(dirname(record), { recursive: true });
    writeFileSync(record, JSON.stringify(Object.fromEntries(done)));
  }
}

const isThere = (wrangler: Wrangler, config: string): Promise<boolean> =>
  wrangler(['deployments', 'list', '--config', config]).then(
    () => true,
    () => false,
  );

/**
 * A server without keys serves nobody: where there is none yet, one is made and shown this once. The queue is told of it too: whether
 * keys are of several owners decides how it shares.
 */
async function key(wrangler: Wrangler, scripts: readonly Script[], say: Say): Promise<void> {
  const { path } = scripts.at(-1) as Script;
  const secrets = JSON.parse(await wrangler(['secret', 'list', '--config', path, '--format', 'json'])) as { name: string }[];
  if (secrets.some((s) => s.name === 'API_KEYS')) return;
  const made = `sk-${randomBytes(24).toString('hex')}`;
  for (const s of scripts.filter(({ holds }) => holds === 'sessions, queue' || holds === 'routes, page'))
    await wrangler(['secret', 'put', 'API_KEYS', '--config', s.path], `owner:${made}`);
  say(`\nIts key, which is shown this once: ${made}`);
}

const short = (path: string) => relative(process.cwd(), path);
const dollars = (n: number) => `$${n < 0.01 ? n.toPrecision(2) : n.toFixed(3)}`;
