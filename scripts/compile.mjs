// The command line as JavaScript in bin/, for a clone and for the package alike: it starts faster than from its sources, and nothing but it stays in memory.
import { existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildSync, stop } from 'esbuild';

/** Bundled, though much is external: of its 145 MB the command line needs what is called, and the embedder's build has its wasm. */
const BUNDLED = ['onnxruntime-web'];

const root = fileURLToPath(new URL('..', import.meta.url));
/** What it was made of: name and time of each file. */
const MADE_OF = `${root}bin/inputs.json`;

/** Compiles what has changed. Chunks carry a hash in their names and old ones stay, for a server that runs and loads one later. */
export function compile() {
  if (fresh()) return { packages: [], bundled: [] };
  const { dependencies, devDependencies } = JSON.parse(readFileSync(`${root}package.json`, 'utf8'));
  const external = Object.keys({ ...dependencies, ...devDependencies }).filter((name) => !BUNDLED.includes(name));
  const { metafile, outputFiles } = buildSync({
    absWorkingDir: root,
    entryPoints: { index: 'cli/index.ts', engine: 'library/node.ts' },
    outdir: 'bin',
    ...{ bundle: true, splitting: true, format: 'esm', platform: 'node', target: 'node20', external },
    ...{ metafile: true, write: false },
  });
  stop(); // its process would stay
  mkdirSync(`${root}bin`, { recursive: true });
  // entries last, each at once: another process may load them now
  const chunk = (path) => basename(path).startsWith('chunk-');
  for (const { path, contents } of outputFiles.sort((a, b) => Number(chunk(b.path)) - Number(chunk(a.path)))) put(path, contents);
  put(MADE_OF, JSON.stringify(Object.keys(metafile.inputs).map((name) => [name, statSync(root + name).mtimeMs])));
  const packages = Object.values(metafile.outputs).flatMap((o) => o.imports.filter((i) => i.external).map((i) => i.path));
  return {
    packages: [...new Set(packages)].filter((name) => !name.startsWith('node:')),
    bundled: [...new Set(Object.keys(metafile.inputs).flatMap((path) => /node_modules\/((@[^/]+\/)?[^/]+)\//.exec(path)?.[1] ?? []))],
  };
}

function fresh() {
  if (!existsSync(MADE_OF) || !existsSync(`${root}bin/index.js`)) return false;
  return JSON.parse(readFileSync(MADE_OF, 'utf8')).every(
    ([name, time]) => statSync(root + name, { throwIfNoEntry: false })?.mtimeMs === time,
  );
}

function put(path, contents) {
  const temporary = `${path}.${process.pid}`;
  writeFileSync(temporary, contents);
  renameSync(temporary, path);
}
