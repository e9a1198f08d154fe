/** `npm run check`: types through project references, lint and format, fresh wasm, and the Worker's bundle within Cloudflare's limits. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { build, ROOT } from '../cli/build.ts';
import { cyclesIn, sourcesIn } from './cycles.ts';

const LIMIT = 64 * 2 ** 20; // of a Worker, uncompressed
/** Of all that the page's files of JavaScript hold: what they held before the server was one for all hosts (988,521 bytes), and 5 %. */
const PAGE_LIMIT = 1_037_900;
/** Licences that what is installed beside the server may have. LGPL: libvips of sharp, a library of its own that Miniflare brings. */
const FREE = [
  ...['MIT', 'MIT OR Apache-2.0', 'Apache-2.0', 'BSD-3-Clause', 'ISC', '0BSD', 'CC0-1.0'],
  ...['LGPL-3.0-or-later', 'Apache-2.0 AND LGPL-3.0-or-later', 'Apache-2.0 AND LGPL-3.0-or-later AND MIT'],
];
/** And those of tools that build and test. */
const TOOLS = ['MPL-2.0', 'CC-BY-4.0', 'Unlicense', '(AFL-2.1 OR BSD-3-Clause)'];
const node = process.execPath;
const bin = (path: string) => join(ROOT, 'node_modules', path);
const kb = (n: number): string => `${(n / 1024).toFixed(0)} KB`;
let failed = false;

licences();
digests();
step('types', [node, bin('typescript/bin/tsc'), '-b']);
step('lint and format', [node, bin('@biomejs/biome/bin/biome'), 'check', '--error-on-warnings', '.']);
await build((line) => console.log(line));
step('wasm is fresh', [node, 'wasm/build.mjs', '--check']);
step('wasm of the accelerator is fresh', [node, 'wasm/npu/build.mjs', '--check']);
cycles();
worker('Worker', '.build/worker');
worker('stage', '.build/stage');
worker('embedder', '.build/embedder');
page();
process.exit(failed ? 1 : 0);

function step(name: string, [file, ...args]: string[]): void {
  const r = spawnSync(file, args, { cwd: ROOT, encoding: 'utf8' });
  const ok = r.status === 0;
  console.log(`${ok ? '✓' : '✗'} ${name}`);
  if (!ok) console.log(`${r.stdout}${r.stderr}`);
  failed ||= !ok;
}

/** Every package that the lock file names has a licence that was looked at; what is shipped links LGPL at most as a library of its own. */
function licences(): void {
  const lock = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { license?: string; dev?: boolean }>;
  };
  const wrong = Object.entries(lock.packages)
    .filter(([name, p]) => name !== '' && !(p.dev ? [...FREE, ...TOOLS] : FREE).includes(p.license ?? 'none'))
    .map(([name, p]) => `${name.replace('node_modules/', '')}: ${p.license ?? 'none'}`);
  console.log(
    `${wrong.length === 0 ? '✓' : '✗'} licences of ${Object.keys(lock.packages).length - 1} packages${wrong.map((w) => `\n  ${w}`).join('')}`,
  );
  failed ||= wrong.length > 0;
}

/** The shipped models are those of models/SHA256SUMS, which `sha256sum -c SHA256SUMS` reads too. */
function digests(): void {
  const folder = join(ROOT, 'models');
  const listed = Object.fromEntries(
    readFileSync(join(folder, 'SHA256SUMS'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => line.split(/ +/).reverse()),
  ) as Record<string, string>;
  const shipped = ['dunlin', 'pebble'].flatMap((m) =>
    readdirSync(join(folder, m), { withFileTypes: true })
      .filter((f) => f.isFile())
      .map((f) => `${m}/${f.name}`),
  );
  const wrong = [...new Set([...Object.keys(listed), ...shipped])].filter(
    (name) =>
      !shipped.includes(name) ||
      createHash('sha256')
        .update(readFileSync(join(folder, name)))
        .digest('hex') !== listed[name],
  );
  console.log(
    `${wrong.length === 0 ? '✓' : '✗'} digests of the shipped models${wrong.map((w) => `\n  ${w} is not as in models/SHA256SUMS`).join('')}`,
  );
  failed ||= wrong.length > 0;
}

/** No file may need itself, to be loaded or to be read. */
function cycles(): void {
  const folders = [
    'engine',
    'kernels',
    'models',
    'openai',
    'policy',
    'pages',
    'serving',
    'durable-objects',
    'worker',
    'accelerator',
    'simulator',
  ];
  const found = cyclesIn(
    ROOT,
    sourcesIn(ROOT, [...folders, 'embedder', 'library', 'cli', 'web/src', 'python/bridge', 'bench', 'scripts', 'tests']),
  );
  console.log(`${found.length === 0 ? '✓' : '✗'} no import cycles`);
  for (const cycle of found) console.log(`  ${cycle.join(' → ')}`);
  failed ||= found.length > 0;
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

/** The chat page's scripts: its engine has what the page asks for, and nothing else (serving/core.ts). */
function page(): void {
  const folder = join(ROOT, 'dist/web/assets');
  const bytes = readdirSync(folder).reduce((n, f) => n + (f.endsWith('.js') ? statSync(join(folder, f)).size : 0), 0);
  const ok = bytes <= PAGE_LIMIT;
  console.log(`${ok ? '✓' : '✗'} the page's scripts are ${kb(bytes)}; the limit is ${kb(PAGE_LIMIT)}`);
  failed ||= !ok;
}
