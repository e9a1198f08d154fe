import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, expect, test } from 'vitest';
import { ROOT } from '../../cli/build.ts';
import { stagesCommand } from '../../cli/commands/stages.ts';

const run = promisify(execFile);
const out = mkdtempSync(join(tmpdir(), 'turnstone-deploy-'));
afterAll(() => rmSync(out, { recursive: true, force: true }));

/** A Worker's limits, uncompressed and gzipped. */
const LIMIT_MIB = 64;

test('every script of a model in stages passes the dry run, within its size, bound to the others and of one build', async () => {
  const lines: string[] = [];
  await stagesCommand('pebble', { stages: 3, out, name: 'small' }, (line) => void lines.push(line));
  const said = lines.filter((l) => l.includes('wrangler deploy')).map((l) => l.split('--config ')[1]);
  // stages first: what binds them comes last
  expect(said.map((path) => dirname(path).split('/').at(-1))).toEqual(['small-stage-1', 'small-stage-2', 'small']);
  const builds = new Set<string>();
  const dry = said.map(async (path) => {
    const folder = join(out, 'built', dirname(path).split('/').at(-1) as string);
    const args = [join(ROOT, 'node_modules/wrangler/bin/wrangler.js'), 'deploy', '--dry-run', '--config', path, '--outdir', folder];
    const env = { ...process.env, WRANGLER_SEND_METRICS: 'false', CLOUDFLARE_CF_FETCH_ENABLED: 'false', NO_COLOR: '1' };
    const { stdout } = await run(process.execPath, args, { cwd: ROOT, env });
    const files = readdirSync(folder).filter((f) => !f.endsWith('.map'));
    expect(files.reduce((n, f) => n + statSync(join(folder, f)).size, 0)).toBeLessThan(LIMIT_MIB * 2 ** 20);
    for (const [, id] of readFileSync(join(folder, 'index.js'), 'utf8').matchAll(/"([0-9a-f]{16})"/g)) builds.add(id);
    return stdout;
  });
  const [first, , replica] = await Promise.all(dry);
  expect(builds.size).toBe(1);
  expect(first).toContain('env.STAGE');
  for (const n of [1, 2]) expect(replica).toMatch(new RegExp(`env\\.STAGE_${n} \\(Stage, defined in small-stage-${n}\\)`));
  expect(replica).toContain('env.STAGES');
});
