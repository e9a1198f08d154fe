/** `turnstone deploy`: its dry run by wrangler itself; what it would do in an account, in which order, and again after it broke. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { ROOT } from '../../cli/build.ts';
import { type DeployFlags, deployCommand } from '../../cli/commands/deploy.ts';
import { runWrangler, type Wrangler } from '../../cli/wrangler.ts';

const out = mkdtempSync(join(tmpdir(), 'turnstone-deploy-'));
afterAll(() => rmSync(out, { recursive: true, force: true }));

/** There is no account here: its answers are these, and what was asked is kept. `fails`: the call that breaks. */
function account(there: { bucket?: boolean; scripts?: boolean; secrets?: string[] } = {}, fails = '') {
  const calls: string[] = [];
  const inputs: string[] = [];
  const wrangler: Wrangler = async (args, input) => {
    const call = args.join(' ').replaceAll(out, '');
    if (call.startsWith('deploy --dry-run')) return calls.push('dry run') ? 'Total Upload: 1 KiB' : '';
    calls.push(call.replace(/ --file \S+/, ''));
    if (input) inputs.push(input);
    if (fails && call.includes(fails)) throw new Error(`${fails} failed`);
    if (call.startsWith('r2 bucket info') && !there.bucket) throw new Error('no such bucket');
    if (call.startsWith('deployments list') && !there.scripts) throw new Error('This Worker does not exist on your account.');
    if (call.startsWith('secret list')) return JSON.stringify((there.secrets ?? []).map((name) => ({ name })));
    return call.startsWith('deploy') ? 'Deployed at https://small.example.workers.dev' : '';
  };
  return { wrangler, calls, inputs };
}

const DRY = ['dry run', 'dry run', 'dry run'];

async function deploy(flags: Partial<DeployFlags>, wrangler?: Wrangler): Promise<string> {
  const lines: string[] = [];
  await deployCommand(undefined, { name: 'small', out, ...flags }, (line) => void lines.push(line), wrangler);
  return lines.join('\n');
}

test('the dry run says the plan and its price, passes wrangler, and changes nothing', async () => {
  const said = await deploy({ dryRun: true, stages: 2 }, (args, input) => {
    expect(args.slice(0, 2)).toEqual(['deploy', '--dry-run']);
    return runWrangler(args, input);
  });
  expect(said).toMatch(/small-stage-1: Total Upload: [\d.]+ KiB/);
  expect(said).toMatch(/small: Total Upload: [\d.]+ KiB/);
  expect(said).toContain('in 2 isolates of 128 MB');
  expect(said).toContain('$0.012 an hour of computing'); // 2 × 0.128 GB × 3,600 s × $12.50 a million GB-s
  expect(said).toContain('Nothing was changed');
});

test('the scripts apart bind what the one script of one machine does, and their routes are the same', () => {
  const whole = readFileSync(join(ROOT, 'wrangler.toml'), 'utf8');
  const routes = readFileSync(join(out, 'small/wrangler.toml'), 'utf8');
  const bound = (text: string) => [...text.matchAll(/^name = "([A-Z]+)"$/gm)].map(([, name]) => name).sort();
  expect(bound(routes)).toEqual(bound(whole));
  const first = /^run_worker_first = .*$/m;
  expect(routes.match(first)?.[0]).toBe(whole.match(first)?.[0]);
});

test('bucket, pack, scripts, key, in this order; what broke goes on where it ended', async () => {
  const first = account({}, 'weights-000.bin');
  await expect(deploy({}, first.wrangler)).rejects.toThrow('weights-000.bin failed');
  expect(first.calls.slice(0, 6)).toEqual([...DRY, 'whoami', 'r2 bucket info turnstone-packs', 'r2 bucket create turnstone-packs']);

  const again = account({ bucket: true });
  const said = await deploy({}, again.wrangler);
  const put = (f: string) => `r2 object put turnstone-packs/pebble/${f} --remote`;
  const config = '--config /small/wrangler.toml';
  const state = '--config /small-state/wrangler.toml';
  const files = ['weights-000.bin', 'tokenizer.bin', 'model.json'].filter((f) => again.calls.includes(put(f)));
  expect(files.at(-1)).toBe('model.json'); // a pack is there when it is whole
  expect(again.calls).toEqual([
    ...[...DRY, 'whoami', 'r2 bucket info turnstone-packs'],
    ...files.map(put),
    // replicas and sessions bind each other: the first of them is made before the other
    ...['deployments list --config /small-replica/first.toml', 'deploy --config /small-replica/first.toml'],
    ...[state, '--config /small-replica/wrangler.toml', config].map((c) => `deploy ${c}`),
    ...[`secret list ${config} --format json`, `secret put API_KEYS ${state}`, `secret put API_KEYS ${config}`],
  ]);
  const key = /shown this once: (sk-[0-9a-f]{48})$/.exec(said)?.[1];
  expect(again.inputs).toEqual([`owner:${key}`, `owner:${key}`]);
  expect(again.calls.join()).not.toContain(key);
  expect(readFileSync(join(out, 'small/wrangler.toml'), 'utf8')).not.toContain(key);

  const third = account({ bucket: true, scripts: true, secrets: ['API_KEYS'] });
  await deploy({}, third.wrangler);
  expect(
    third.calls.filter(
      (c) => c.startsWith('r2 object') || c.startsWith('secret put') || c.includes('deploy --config /small-replica/first'),
    ),
  ).toEqual([]);
});

test('without an account it says how to have one; a name that no Worker can have is refused', async () => {
  await expect(deploy({}, account({}, 'whoami').wrangler)).rejects.toThrow('npx wrangler login');
  await expect(deploy({ name: '../x' })).rejects.toThrow('--name');
});
