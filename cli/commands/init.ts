/** `turnstone init`: a Worker of one's own with the shipped model in it. */
import { randomBytes } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join, relative, resolve } from 'node:path';
import { build, ROOT } from '../build.ts';

const TEMPLATE = join(ROOT, 'templates/worker');
const MODEL = 'pebble';
/** As Cloudflare takes it. */
const WORKER_NAME = /^[a-z0-9]([a-z0-9-]{0,52}[a-z0-9])?$/;

/** Writes the template into a new folder. Its package is this installation, or this clone. Rejects when there is something in it, or no Worker can be named so. */
export async function initCommand(folder: string, say: (line: string) => void = console.log): Promise<void> {
  const to = resolve(folder);
  const name = basename(to).toLowerCase();
  if (!WORKER_NAME.test(name)) throw new Error(`a Worker cannot be named "${name}": letters, digits and dashes, 54 at most`);
  if (existsSync(to) && readdirSync(to).length > 0) throw new Error(`${folder} is not empty`);
  const { devDependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    devDependencies: Record<string, string>;
  };
  const values: Record<string, string> = {
    NAME: name,
    TURNSTONE: `file:${ROOT.replace(/\/$/, '')}`, // of the registry the name is another's (docs/self-host.md)
    WRANGLER: devDependencies.wrangler,
    WORKERS_TYPES: devDependencies['@cloudflare/workers-types'],
    TYPESCRIPT: devDependencies.typescript,
  };
  await build(say, ['wasm', 'worker']); // of a clone
  for (const file of readdirSync(TEMPLATE, { recursive: true, withFileTypes: true })) {
    if (!file.isFile()) continue;
    const path = join(file.parentPath, file.name);
    const place = join(to, relative(TEMPLATE, path));
    mkdirSync(join(place, '..'), { recursive: true });
    writeFileSync(
      place,
      readFileSync(path, 'utf8').replace(/\b(NAME|TURNSTONE|WRANGLER|WORKERS_TYPES|TYPESCRIPT)\b/g, (word) => values[word]),
    );
  }
  const pack = join(to, 'public/packs', MODEL);
  mkdirSync(pack, { recursive: true });
  for (const f of readdirSync(join(ROOT, 'models', MODEL), { withFileTypes: true }))
    if (f.isFile()) cpSync(join(ROOT, 'models', MODEL, f.name), join(pack, f.name));
  writeFileSync(join(to, '.gitignore'), 'node_modules/\n.wrangler/\n.dev.vars\n');
  writeFileSync(join(to, '.dev.vars'), `API_KEYS="dev:${randomBytes(24).toString('hex')}"\n`, { mode: 0o600 });
  say(`${folder} has a Worker with ${MODEL} in it:\n\n  cd ${folder}\n  npm install\n  npm test\n  npm run dev`);
}
