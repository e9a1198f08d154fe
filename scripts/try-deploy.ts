/**
 * `npx tsx scripts/try-deploy.ts [MODEL]`: every command of docs/deploy.md, one after the other, by the real command line and the real wrangler,
 * against an account that is a server here: it speaks the routes of Cloudflare's API that wrangler asks for them. Says what each command
 * said last, and fails with the first that fails or the first route that the account does not know. Nothing leaves this machine.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from '../cli/build.ts';

const ACCOUNT = 'a'.repeat(32);

interface Version {
  id: string;
  created: string;
  /** The deployment's name; a secret makes a version without one. */
  tag?: string;
  secrets: string[];
}
interface Worker {
  versions: Version[];
  /** The version that answers. */
  live: string;
}

const buckets = new Set<string>();
const objects = new Map<string, Buffer>();
const workers = new Map<string, Worker>();
const unknown: string[] = [];
let made = 0;

type Answer = { status?: number; result: unknown; code?: number };
const none = (code: number): Answer => ({ status: 404, result: null, code });
const NO_WORKER = 10007;

function version(worker: Worker | undefined, change: Partial<Version>): Worker {
  const id = `${String(++made).padStart(8, '0')}-0000-4000-8000-000000000000`;
  const created = new Date(Date.now() + made).toISOString();
  const next: Version = { id, created, secrets: worker?.versions.at(-1)?.secrets ?? [], ...change };
  return { versions: [...(worker?.versions ?? []), next], live: id };
}

const shown = ({ id, created, tag, secrets }: Version) => ({
  ...{ id, number: Number(id.slice(0, 8)), metadata: { created_on: created, author_email: 'a@example.com', source: 'wrangler' } },
  annotations: tag ? { 'workers/tag': tag } : { 'workers/triggered_by': 'secret' },
  resources: {
    script: { etag: id, handlers: ['fetch'] },
    script_runtime: {},
    bindings: secrets.map((name) => ({ type: 'secret_text', name })),
  },
});

function ofBucket(method: string, path: string, body: Buffer): Answer | Buffer | undefined {
  const [, bucket, key] = /^\/r2\/buckets(?:\/([^/]+))?(?:\/objects\/(.+))?$/.exec(path) ?? [];
  if (!path.startsWith('/r2/buckets')) return undefined;
  if (bucket && key) {
    const name = `${bucket}/${decodeURIComponent(key)}`;
    if (method === 'PUT') objects.set(name, body);
    else if (method === 'DELETE') objects.delete(name);
    else return objects.get(name) ?? none(10007);
    return { result: {} };
  }
  if (bucket) return buckets.has(bucket) ? { result: { name: bucket, creation_date: '2026-11-30', location: 'weur' } } : none(10006);
  if (method === 'POST') buckets.add((JSON.parse(body.toString()) as { name: string }).name);
  return { result: { buckets: [...buckets].map((name) => ({ name })) } };
}

function ofWorker(method: string, path: string, body: Buffer): Answer | undefined {
  if (path === '/workers/scripts') return { result: [...workers.keys()].map((id) => ({ id, migration_tag: 'v1' })) };
  if (path === '/workers/subdomain') return { result: { subdomain: 'example' } };
  const [, kind, name, rest = ''] = /^\/workers\/(scripts|services)\/([^/]+)(\/.*)?$/.exec(path) ?? [];
  if (!name) return undefined;
  const worker = workers.get(name);
  if (rest === '/assets-upload-session') return { result: { jwt: 'all files are there', buckets: [] } };
  if ((method === 'PUT' && rest === '') || (method === 'POST' && rest === '/versions')) {
    const tag = /"workers\/tag":\s*"([^"]+)"/.exec(body.toString('latin1'))?.[1];
    const next = version(worker, { tag });
    workers.set(name, next);
    const made = shown(next.versions.at(-1) as Version);
    return { result: { ...made, deployment_id: next.live, etag: next.live, startup_time_ms: 1 } };
  }
  if (!worker) return none(NO_WORKER);
  if (method === 'DELETE' && rest === '') {
    workers.delete(name);
    return { result: {} };
  }
  const last = worker.versions.at(-1) as Version;
  if (rest === '/secrets' && method === 'PUT') {
    const secret = (JSON.parse(body.toString()) as { name: string }).name;
    workers.set(name, version(worker, { secrets: [...new Set([...last.secrets, secret])] }));
    return { result: { name: secret, type: 'secret_text' } };
  }
  if (rest === '/references') return { result: {} };
  if (rest === '/secrets') return { result: last.secrets.map((name) => ({ name, type: 'secret_text' })) };
  if (rest === '/versions') return { result: { items: worker.versions.slice(-10).map(shown) } };
  if (rest.startsWith('/versions/')) {
    const found = worker.versions.find((v) => rest.endsWith(v.id));
    return found ? { result: shown(found) } : none(NO_WORKER);
  }
  if (rest === '/deployments') {
    if (method === 'POST') worker.live = (JSON.parse(body.toString()) as { versions: { version_id: string }[] }).versions[0].version_id;
    const { live } = worker;
    const about = { source: 'wrangler', strategy: 'percentage', author_email: 'a@example.com', created_on: last.created, annotations: {} };
    return { result: { id: live, deployments: [{ id: live, ...about, versions: [{ version_id: live, percentage: 100 }] }] } };
  }
  if (rest === '/script-settings') return { result: {} };
  if (rest === '/settings') return { result: { bindings: [], tags: [], migration_tag: 'v1' } };
  if (rest === '/subdomain') return { result: { enabled: true, previews_enabled: false } };
  if (kind === 'services') {
    const script = { id: name, etag: worker.live, last_deployed_from: 'wrangler', handlers: ['fetch'] };
    return { result: { id: name, script, default_environment: { environment: 'production', script } } };
  }
  return undefined;
}

function ofUser(path: string): Answer | undefined {
  if (path === '/user') return { result: { id: 'u', email: 'a@example.com' } };
  if (path === '/user/tokens/verify') return { result: { id: 't', status: 'active' } };
  if (path === '/accounts') return { result: [{ id: ACCOUNT, name: 'an account' }] };
  if (path === '/graphql') return { result: {} };
  if (path === '/storage/kv/namespaces' || path.startsWith('/workers/tails/')) return { result: [] };
  if (path === '/memberships') return { result: [{ id: 'm', account: { id: ACCOUNT, name: 'an account' } }] };
  return undefined;
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const body = Buffer.concat(chunks);
  const { method = 'GET', url = '/' } = request;
  const path = new URL(url, 'http://account').pathname.replace(/^\/client\/v4/, '').replace(`/accounts/${ACCOUNT}`, '');
  const given = ofUser(path) ?? ofBucket(method, path, body) ?? ofWorker(method, path, body);
  if (Buffer.isBuffer(given)) return void response.writeHead(200).end(given);
  if (!given) unknown.push(`${method} ${path}`);
  const { status = 200, result, code } = given ?? { result: {} };
  response.writeHead(status, { 'content-type': 'application/json' });
  const errors = code ? [{ code, message: 'This does not exist on your account.' }] : [];
  response.end(JSON.stringify({ success: status < 400, errors, messages: [], result, result_info: { page: 1, total_pages: 1, count: 1 } }));
}

const server = createServer((request, response) => void answer(request, response));
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
const out = mkdtempSync(join(tmpdir(), 'turnstone-try-deploy-'));
const [, , model = 'pebble'] = process.argv;
const env = {
  ...process.env,
  ...{ CLOUDFLARE_API_BASE_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}/client/v4` },
  ...{ CLOUDFLARE_API_TOKEN: 'a-token', CLOUDFLARE_ACCOUNT_ID: ACCOUNT },
};

/** What the command said. Rejects with it when it fails. */
async function run(words: readonly string[]): Promise<string> {
  const cli = ['--import', 'tsx', join(ROOT, 'cli/index.ts'), ...words, '--out', out];
  const child = spawn(process.execPath, cli, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (d) => (said += d));
  const code = await new Promise((resolve) => child.once('close', resolve));
  if (code !== 0)
    throw new Error(`${words.join(' ')} ended with ${code}; unknown to the account: ${unknown.join(', ') || 'nothing'}\n${said}`);
  return said;
}

const page = readFileSync(join(ROOT, 'docs/deploy.md'), 'utf8');
const commands = [...page.matchAll(/^npm run turnstone -- (deploy .*?)(?:\s+#.*)?$/gm)].map(([, command]) =>
  command.replace('smollm2', model),
);
for (const command of commands) {
  const words = command.trim().split(/\s+/);
  const said = await run(words.includes('--remove') ? [...words, '--yes'] : words); // nobody is asked here
  console.log(`${command}\n  ${said.trim().split('\n').filter(Boolean).slice(-2).join('\n  ')}`);
  if (unknown.length > 0) throw new Error(`wrangler asked for what the account does not know: ${[...new Set(unknown)].join(', ')}`);
}
if (workers.size > 0 || objects.size > 0) throw new Error(`left over: ${[...workers.keys(), ...objects.keys()].join(', ')}`);
console.log(`${commands.length} commands, and nothing is left in the account but the bucket ${[...buckets].join()}`);
server.close();
rmSync(out, { recursive: true, force: true });
