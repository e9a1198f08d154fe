/** What must be built before anything is served: the runner's modules, the wasm kernels, the page, the Worker's bundle. Each is skipped while its inputs are unchanged. */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Where the program's own files are. */
export const ROOT = fileURLToPath(new URL('..', import.meta.url));
/** Whether this is the published package: all is built, and nothing is written beside it. */
export const INSTALLED = !existsSync(join(ROOT, 'package-lock.json'));

interface Target {
  /** Emptied first: wrangler leaves what earlier builds made. */
  folder?: string;
  name: string;
  /** Files and folders, relative to the root, that the result depends on. */
  inputs: string[];
  /** Exists when it was built. */
  output: string;
  command: string[];
  /** It is told what the arithmetic was built from (durable-objects/build-id.ts). */
  named?: boolean;
}

const node = process.execPath;
const bin = (name: string, path: string) => [node, join(ROOT, 'node_modules', name, path)];

const TARGETS: Target[] = [
  {
    name: 'modules',
    inputs: ['cli/workerd/modules', 'package-lock.json'],
    output: '.build/modules/site.js',
    command: [node, 'scripts/modules.mjs'],
  },
  { name: 'wasm', inputs: ['wasm', 'package-lock.json'], output: '.build/wasm/turnstone-relaxed.wasm', command: [node, 'wasm/build.mjs'] },
  {
    name: 'page',
    inputs: [
      'web',
      'serving',
      'engine',
      'pages',
      'accelerator',
      'simulator',
      'kernels',
      'models',
      'openai',
      'policy',
      'wasm',
      'cli/build.ts',
      'package-lock.json',
    ],
    output: 'dist/web/index.html',
    command: [...bin('vite', 'bin/vite.js'), 'build', 'web', '--logLevel', 'warn'],
  },
  {
    name: 'worker',
    inputs: [
      'engine',
      'pages',
      'accelerator',
      'kernels',
      'models',
      'openai',
      'policy',
      'serving',
      'durable-objects',
      'worker',
      'wasm',
      'wrangler.toml',
      'package-lock.json',
    ],
    folder: '.build/worker',
    output: '.build/worker/index.js',
    command: [...bin('wrangler', 'bin/wrangler.js'), 'deploy', '--dry-run', '--outdir', '.build/worker'],
    named: true,
  },
  {
    name: 'stage',
    inputs: ['engine', 'kernels', 'models', 'policy', 'durable-objects', 'wasm', 'package-lock.json'],
    folder: '.build/stage',
    output: '.build/stage/index.js',
    command: [
      ...bin('wrangler', 'bin/wrangler.js'),
      ...['deploy', '--dry-run', '--config', 'durable-objects/stage/wrangler.toml', '--outdir', '../../.build/stage'],
    ],
    named: true,
  },
  {
    name: 'accelerator',
    inputs: ['engine', 'kernels', 'models', 'pages', 'accelerator', 'simulator', 'wasm', 'package-lock.json'],
    folder: '.build/accelerator',
    output: '.build/accelerator/index.js',
    command: [
      ...bin('wrangler', 'bin/wrangler.js'),
      'deploy',
      '--dry-run',
      '--config',
      'accelerator/wrangler.toml',
      '--outdir',
      '../.build/accelerator',
    ],
  },
  {
    name: 'embedder',
    inputs: ['embedder', 'models', 'models/dunlin', 'openai', 'package-lock.json'],
    folder: '.build/embedder',
    output: '.build/embedder/index.js',
    command: [
      ...bin('wrangler', 'bin/wrangler.js'),
      'deploy',
      '--dry-run',
      '--config',
      'embedder/wrangler.toml',
      '--outdir',
      '../.build/embedder',
    ],
  },
];

/** Builds what is stale; `say` is called once for each target that is. Rejects with the tool's own output when one fails. */
export async function build(say: (line: string) => void = () => {}, names: string[] = TARGETS.map((t) => t.name)): Promise<void> {
  if (INSTALLED) return;
  for (const t of TARGETS.filter((x) => names.includes(x.name))) {
    const stamp = join(ROOT, '.build', `${t.name}.stamp`);
    const digest = digestOf(t.inputs);
    if (existsSync(join(ROOT, t.output)) && existsSync(stamp) && readFileSync(stamp, 'utf8') === digest) continue;
    say(`Building the ${t.name} …`);
    if (t.name === 'embedder') shipPack('dunlin', '.build/embedder-assets/packs');
    rmSync(stamp, { force: true });
    if (t.folder) rmSync(join(ROOT, t.folder), { recursive: true, force: true });
    await run(t.named ? [...t.command, '--define', `BUILD_ID:"${buildId()}"`] : t.command);
    mkdirSync(join(ROOT, '.build'), { recursive: true });
    writeFileSync(stamp, digest);
  }
  if (names.includes('page')) shipPack('pebble', 'dist/web/packs');
}

/** What the replica and its stages must have in common: two builds with the same compute the same bits, and understand each other. */
export const buildId = (): string => digestOf(['engine', 'kernels', 'wasm', 'durable-objects/stage']).slice(0, 16);

/**
 * A shipped pack is a static asset too, so that a deployment without R2 answers. What is there already is left alone, and a file is whole as soon as
 * it has its name: several may start at once, and a server may be reading it.
 */
function shipPack(name: string, folder: string): void {
  const from = join(ROOT, 'models', name);
  const to = join(ROOT, folder, name);
  for (const made of [to, join(ROOT, '.build')]) mkdirSync(made, { recursive: true });
  for (const f of readdirSync(from, { withFileTypes: true })) {
    const [source, target] = [join(from, f.name), join(to, f.name)];
    if (!f.isFile() || (existsSync(target) && readFileSync(target).equals(readFileSync(source)))) continue;
    const whole = join(ROOT, '.build', `${f.name}.${process.pid}`);
    copyFileSync(source, whole);
    renameSync(whole, target);
  }
}

/** SHA-256 over paths and contents. */
function digestOf(inputs: string[]): string {
  const hash = createHash('sha256');
  for (const file of inputs.flatMap(files).sort())
    hash
      .update(`${file}\0`)
      .update(readFileSync(join(ROOT, file)))
      .update('\0');
  return hash.digest('hex');
}

function files(path: string): string[] {
  const full = join(ROOT, path);
  if (!existsSync(full)) return [];
  let entries: ReturnType<typeof list>;
  try {
    entries = list(full);
  } catch {
    return [path]; // a file
  }
  return entries.filter((e) => !SHIPPED.has(e.name)).flatMap((e) => files(`${path}/${e.name}`));
}

/** Not sources: a target that holds a pack names it. */
const SHIPPED = new Set(['node_modules', 'pebble', 'dunlin']);

const list = (full: string) => readdirSync(full, { withFileTypes: true });

/** What keeps wrangler from telling and asking anybody. */
export const QUIET = { WRANGLER_SEND_METRICS: 'false', CLOUDFLARE_CF_FETCH_ENABLED: 'false', NO_COLOR: '1' };

/** A build takes seconds; one that has not ended by now hangs at its start, which was seen once in some hundreds, and is begun anew. */
const HUNG_MS = 180_000;

async function run(command: string[], tries = 2): Promise<void> {
  const child = spawn(command[0], command.slice(1), {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, NODE_ENV: 'production', ...QUIET }, // in tests it says test: what they build is served afterwards, too
  });
  let output = '';
  child.stdout.on('data', (d) => {
    output += d;
  });
  child.stderr.on('data', (d) => {
    output += d;
  });
  let hung = false;
  const timer = setTimeout(() => {
    hung = true;
    child.kill('SIGKILL');
  }, HUNG_MS);
  const code = await new Promise((resolve, reject) => child.on('exit', resolve).on('error', reject)).finally(() => clearTimeout(timer));
  if (hung && tries > 1) return run(command, tries - 1);
  if (code !== 0) throw new Error(`${command.slice(1).join(' ')} failed:\n${output}`);
}
