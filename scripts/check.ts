/** `npm run check`: types through project references, lint and format, fresh wasm, and the Worker's bundle within Cloudflare's limits. */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { build, ROOT } from '../cli/build.ts';

const LIMIT = 64 * 2 ** 20; // of a Worker, uncompressed
const node = process.execPath;
const bin = (path: string) => join(ROOT, 'node_modules', path);
const kb = (n: number): string => `${(n / 1024).toFixed(0)} KB`;
let failed = false;

step('types', [node, bin('typescript/bin/tsc'), '-b']);
step('lint and format', [node, bin('@biomejs/biome/bin/biome'), 'check', '--error-on-warnings', '.']);
await build((line) => console.log(line));
step('wasm is fresh', [node, 'wasm/build.mjs', '--check']);
step('wasm of the accelerator is fresh', [node, 'wasm/npu/build.mjs', '--check']);
worker('Worker', '.build/worker');
worker('stage', '.build/stage');
worker('embedder', '.build/embedder');
process.exit(failed ? 1 : 0);

function step(name: string, [file, ...args]: string[]): void {
  const r = spawnSync(file, args, { cwd: ROOT, encoding: 'utf8' });
  const ok = r.status === 0;
  console.log(`${ok ? '✓' : '✗'} ${name}`);
  if (!ok) console.log(`${r.stdout}${r.stderr}`);
  failed ||= !ok;
}

/** The bundle that `wrangler deploy --dry-run` made. */
function worker(name: string, built: string): void {
  const folder = join(ROOT, built);
  const files = readdirSync(folder).filter((f) => !f.endsWith('.map') && f !== 'README.md');
  const bytes = files.reduce((n, f) => n + statSync(join(folder, f)).size, 0);
  const zipped = files.reduce((n, f) => n + gzipSync(readFileSync(join(folder, f))).length, 0);
  const ok = bytes <= LIMIT;
  console.log(`${ok ? '✓' : '✗'} the ${name} is ${kb(bytes)} (${kb(zipped)} gzipped); the limit is ${kb(LIMIT)}`);
  failed ||= !ok;
}
