/** `turnstone deploy`: what it does in an account, in which order, and again after it broke; back, and away. wrangler's own dry run is in deploy-stages.test.ts. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { ROOT } from '../../cli/build.ts';
import { type DeployFlags, deployCommand } from '../../cli/commands/deploy.ts';
import { tagOf } from '../../cli/deploy/versions.ts';
import type { Wrangler } from '../../cli/wrangler.ts';

const out = mkdtempSync(join(tmpdir(), 'turnstone-deploy-'));
afterAll(() => rmSync(out, { recursive: true, force: true }));

/** There is no account here: its answers are these, and what was asked is kept. `fails`: the call that breaks. */
function account(there: { bucket?: boolean; scripts?: boolean; secrets?: string[]; packs?: boolean } = {}, fails = '') {
  const calls: string[] = [];
  const inputs: string[] = [];
  const wrangler: Wrangler = async (args, input) => {
    const call = args.join(' ').replaceAll(out, '');
    if (call.startsWith('deploy --dry-run')) return calls.push('dry run') ? 'Total Upload: 1 KiB' : '';
    calls.push(call.replace(/ --file \S+/, '').replace(/ --tag \d{8}T\d{6}-[0-9a-f]{8}$/, ' --tag T'));
    if (input) inputs.push(input);
    if (fails && call.includes(fails)) throw new Error(`${fails} failed`);
    if (call.startsWith('r2 bucket info') && !there.bucket) throw new Error('no such bucket');
    if (call.startsWith('r2 object get'))
      return there.packs ? readFileSync(join(ROOT, 'models', call.split('/')[1], 'model.json'), 'utf8') : '';
    if (call.startsWith('deployments list') && !there.scripts) throw new Error('This Worker does not exist on your account.');
    if (call.startsWith('secret list')) return JSON.stringify((there.secrets ?? []).map((name) => ({ name })));
    return call.startsWith('deploy') ? 'Deployed at https://small.example.workers.dev' : '';
  };
  return { wrangler, calls, inputs };
}

const DRY = ['dry run', 'dry run', 'dry run', 'dry run'];
const GET = 'r2 object get turnstone-packs/pebble/model.json --pipe --remote';

/** What is said when the command asks. */
const answers: string[] = [];

async function deploy(flags: Partial<DeployFlags>, wrangler?: Wrangler): Promise<string> {
  const lines: string[] = [];
  await deployCommand(
    undefined,
    { name: 'small', out, ...flags },
    (line) => void lines.push(line),
    wrangler,
    async () => answers.shift(),
  );
  return lines.join('\n');
}

test('the dry run asks for nothing but dry runs', async () => {
  const there = account();
  await deploy({ dryRun: true, stages: 2 }, there.wrangler);
  expect(there.calls).toEqual([...DRY, 'dry run']); // a stage, too
});

test('the plan of a dry run is data, too', async () => {
  const { wrangler } = account();
  const plan = JSON.parse(await deploy({ dryRun: true, json: true }, wrangler)) as { scripts: { upload: string }[]; cost: object };
  expect(plan).toMatchObject({ model: 'pebble', isolates: 1, cost: { hour: expect.any(Number) } });
  expect(plan.scripts.map((s) => s.upload)).toEqual(DRY.map(() => 'Total Upload: 1 KiB'));
  await expect(deploy({ json: true }, wrangler)).rejects.toThrow('--json is of --dry-run');
});

test('the scripts apart bind what the one script of one machine does, and their routes are the same', () => {
  const whole = readFileSync(join(ROOT, 'wrangler.toml'), 'utf8');
  const routes = readFileSync(join(out, 'small/wrangler.toml'), 'utf8');
  const bound = (text: string) => [...text.matchAll(/^name = "([A-Z]+)"$/gm)].map(([, name]) => name).sort();
  expect(routes).toContain('service = "small-embedder"');
  expect(bound(routes)).toEqual(bound(whole));
  const first = /^run_worker_first = .*$/m;
  expect(routes.match(first)?.[0]).toBe(whole.match(first)?.[0]);
});

test('replicas are planned one an isolate, whatever their number; a model in stages has one', async () => {
  const replica = () => readFileSync(join(out, 'small-replica/wrangler.toml'), 'utf8');
  expect(await deploy({ dryRun: true, var: ['REPLICAS=20'] }, account().wrangler)).toContain('in 1 isolate of 128 MB a replica');
  for (const line of ['REPLICAS = "20"', 'REPLICAS_HERE = "1"']) expect(replica()).toContain(line);
  for (const many of ['REPLICAS=2', 'CELLS=2'])
    await expect(deploy({ dryRun: true, stages: 2, var: [many] }, account().wrangler)).rejects.toThrow(`--var ${many}: a model in stages`);
  await deploy({ dryRun: true }, account().wrangler);
});

test('bucket, pack, scripts, key, in this order; what broke goes on where it ended', async () => {
  const first = account({}, 'weights-000.bin');
  await expect(deploy({}, first.wrangler)).rejects.toThrow('weights-000.bin failed');
  expect(first.calls.slice(0, 8)).toEqual([...DRY, 'whoami', 'r2 bucket info turnstone-packs', 'r2 bucket create turnstone-packs', GET]);

  const again = account({ bucket: true });
  const said = await deploy({}, again.wrangler);
  const put = (f: string) => `r2 object put turnstone-packs/${f} --remote`;
  const config = '--config /small/wrangler.toml';
  const state = '--config /small-state/wrangler.toml';
  const files = ['weights-000.bin', 'tokenizer.bin', 'model.json'].map((f) => `pebble/${f}`).filter((f) => again.calls.includes(put(f)));
  expect(files.at(-1)).toBe('pebble/model.json'); // a pack is there when it is whole
  const encoder = ['model.onnx', 'tokenizer.json', 'model.json'].map((f) => `dunlin/${f}`);
  expect(again.calls).toEqual([
    ...[...DRY, 'whoami', 'r2 bucket info turnstone-packs', GET],
    ...[...files.map(put), GET.replace('pebble', 'dunlin'), ...encoder.map(put)],
    // replicas and sessions bind each other: the first of them is made before the other
    ...['deployments list --config /small-replica/first.toml', 'deploy --config /small-replica/first.toml'],
    ...['--config /small-embedder/wrangler.toml', state, '--config /small-replica/wrangler.toml', config].map((c) => `deploy ${c} --tag T`),
    ...[`secret list ${config} --format json`, `secret put API_KEYS ${state}`, `secret put API_KEYS ${config}`],
  ]);
  const key = /shown this once: (sk-[0-9a-f]{48})$/m.exec(said)?.[1];
  expect(again.inputs).toEqual([`owner:${key}`, `owner:${key}`]);
  expect(again.calls.join()).not.toContain(key);
  expect(readFileSync(join(out, 'small/wrangler.toml'), 'utf8')).not.toContain(key);

  // another machine, which remembers nothing: the manifest in the bucket has the digests of all files
  rmSync(join(out, 'uploaded.json'));
  const third = account({ bucket: true, scripts: true, secrets: ['API_KEYS'], packs: true });
  await deploy({}, third.wrangler);
  expect(
    third.calls.filter(
      (c) => c.startsWith('r2 object put') || c.startsWith('secret put') || c.includes('deploy --config /small-replica/first'),
    ),
  ).toEqual([]);
});

test('keys are asked for, settings are checked, secrets come from the environment and go where they are read', async () => {
  answers.push('first:key-of-the-tests');
  const asked = account({ bucket: true });
  expect(await deploy({ embedder: false, var: ['MAX_QUEUE=9'] }, asked.wrangler)).not.toContain('shown this once');
  expect(asked.inputs).toEqual(['first:key-of-the-tests', 'first:key-of-the-tests']);
  expect(readFileSync(join(out, 'small/wrangler.toml'), 'utf8')).toContain('MAX_QUEUE = "9"');
  process.env.ADMIN_KEY = 'admin-key-of-the-tests';
  try {
    const set = account({ bucket: true, secrets: ['API_KEYS'] });
    await deploy({}, set.wrangler);
    expect(set.calls.filter((c) => c.startsWith('secret put'))).toEqual(['secret put ADMIN_KEY --config /small/wrangler.toml']);
    expect(set.inputs).toEqual(['admin-key-of-the-tests']);
  } finally {
    delete process.env.ADMIN_KEY;
  }
  await expect(deploy({ var: ['MAX_QUEU=9'] })).rejects.toThrow('did you mean MAX_QUEUE?');
  await expect(deploy({ var: ['MAX_QUEUE=many'] })).rejects.toThrow('MAX_QUEUE is "many"');
  await expect(deploy({ var: ['ADMIN_KEY=12345678'] })).rejects.toThrow('environment');
});

/** Versions as the account lists them: three deployments, and the key that was set after the first of them. */
const VERSIONS = [
  { id: 'v3', tag: 'third' },
  { id: 'v2', tag: 'second' },
  { id: 'v1-key', tag: undefined },
  { id: 'v1', tag: 'first' },
].map(({ id, tag }, i) => ({
  id,
  metadata: { created_on: new Date(Date.UTC(2026, 0, 9 - i)).toISOString() },
  annotations: tag ? { 'workers/tag': tag } : { 'workers/triggered_by': 'secret' },
}));

/** An account that has these; `live` is what answers. `lacks`: a script without the first of them. */
function versioned(live: string, lacks = '') {
  const there = account({ bucket: true, scripts: true });
  const wrangler: Wrangler = async (args, input) => {
    const said = await there.wrangler(args, input);
    if (args[0] === 'versions') return JSON.stringify(lacks && args.join().includes(lacks) ? VERSIONS.slice(0, 2) : VERSIONS);
    return args.join(' ').startsWith('deployments status') ? JSON.stringify({ versions: [{ version_id: live, percentage: 100 }] }) : said;
  };
  return { wrangler, rollbacks: () => there.calls.filter((c) => c.startsWith('rollback')) };
}

test('back to the deployment before, in every script, with the secrets that it had; to one by its name; or not at all', async () => {
  const second = versioned('v2');
  const said = await deploy({ rollback: true }, second.wrangler);
  const to = (id: string, tag: string) => (script: string) =>
    `rollback ${id} --config /${script}/wrangler.toml --message back to ${tag} --yes`;
  const scripts = ['small-stage-1', 'small-embedder', 'small-state', 'small-replica', 'small'];
  expect(second.rollbacks()).toEqual(scripts.map(to('v1-key', 'first')));
  expect(said).toContain('small is what it was at first');
  const third = versioned('v1-key');
  await deploy({ rollback: 'third' }, third.wrangler);
  expect(third.rollbacks()).toEqual(scripts.map(to('v3', 'third')));
  const none = versioned('v1');
  await expect(deploy({ rollback: true }, none.wrangler)).rejects.toThrow('none before the present one; there are: first, second, third');
  await expect(deploy({ rollback: 'fourth' }, none.wrangler)).rejects.toThrow('no deployment fourth');
  const half = versioned('v2', 'small-replica');
  await expect(deploy({ rollback: true }, half.wrangler)).rejects.toThrow('small-replica has no version of first');
  expect([...none.rollbacks(), ...half.rollbacks()]).toEqual([]);
  expect(tagOf(new Date(Date.UTC(2026, 10, 30, 14, 5, 9)), '0123456789abcdef')).toBe('20261130T140509-01234567');
});

test('all of it goes, what binds before what is bound, once its name is said; what is gone already is no fault', async () => {
  const there = account({ bucket: true, scripts: true });
  await expect(deploy({ remove: true }, there.wrangler)).rejects.toThrow('--yes');
  answers.push('smal');
  await expect(deploy({ remove: true }, there.wrangler)).rejects.toThrow('nothing was changed');
  expect(await deploy({ remove: true, dryRun: true }, there.wrangler)).toContain('every session');
  expect(there.calls).toEqual([]);
  answers.push('small');
  await expect(deploy({ remove: true }, account({}, 'small-state').wrangler)).rejects.toThrow('small-state');
  const gone: Wrangler = async (args) => {
    if (args.join().includes('small-replica')) throw new Error('This Worker does not exist on your account. [code: 10090]');
    return there.wrangler(args);
  };
  await deploy({ remove: true, yes: true }, gone);
  const order = there.calls.map((c) => /delete --config \/(\S+)\/wrangler.toml --force/.exec(c)?.[1] ?? c);
  expect(order.slice(0, 4)).toEqual(['small', 'small-state', 'small-embedder', 'small-stage-1']);
  expect(order.slice(4)).toContain('r2 object delete turnstone-packs/pebble/model.json --remote');
  await expect(deploy({ remove: true }, there.wrangler)).rejects.toThrow('says nothing of a deployment small');
});

test('without an account it says how to have one; a name that no Worker can have is refused', async () => {
  await expect(deploy({}, account({}, 'whoami').wrangler)).rejects.toThrow('npx wrangler login');
  await expect(deploy({ name: '../x' })).rejects.toThrow('--name');
});
