/** The package as it would be published: packed, unpacked beside its dependencies alone, and used from another folder. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { buildSync } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ROOT } from '../../cli/build.ts';
import { programsOf } from '../docs.ts';
import { launchBrowser, noBrowser } from './browser.ts';
import { launch } from './launcher.ts';

const folder = mkdtempSync(join(tmpdir(), 'turnstone-package-'));
const installed = join(folder, 'node_modules/turnstone');
const { PATH, HOME } = process.env;

/** What the command prints, run where a user stands. */
const turnstone = (args: string[]): string =>
  execFileSync(process.execPath, [join(installed, 'bin/index.js'), ...args], {
    cwd: folder,
    env: { PATH, HOME, TURNSTONE_CACHE: join(folder, 'cache'), TMPDIR: folder },
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });

/** Installs a package there that this repository has. */
function link(name: string): void {
  const path = join(folder, 'node_modules', name);
  mkdirSync(dirname(path), { recursive: true });
  if (!existsSync(path)) symlinkSync(join(ROOT, 'node_modules', name), path);
}

/** Every file below with its size. */
const listing = (path: string): string[] =>
  readdirSync(path, { recursive: true, encoding: 'utf8' })
    .map((f) => `${f} ${statSync(join(path, f)).size}`)
    .sort();

describe('the package', () => {
  beforeAll(() => {
    const npm = (...args: string[]) => execFileSync('npm', args, { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
    npm('run', 'prepack');
    const [{ filename }] = JSON.parse(npm('pack', '--json', '--ignore-scripts', '--pack-destination', folder)) as { filename: string }[];
    mkdirSync(installed, { recursive: true });
    execFileSync('tar', ['-xzf', join(folder, filename), '-C', installed, '--strip-components=1']);
    const { dependencies } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8')) as { dependencies: Record<string, string> };
    for (const name of Object.keys(dependencies)) link(name);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('answers in an empty folder, and writes nothing beside itself', () => {
    const before = listing(installed);
    expect(turnstone(['run', 'pebble', 'Who are you?', '--temperature', '0'])).toBe('I am Pebble, a small language model.\n');
    expect(listing(installed)).toEqual(before);
  });

  it('packs a sentence encoder, with what is bundled of ONNX Runtime', () => {
    expect(
      turnstone([
        'pack',
        join(installed, 'models/dunlin/model.onnx'),
        '--out',
        join(folder, 'encoder'),
        '--max-tokens',
        '16',
        '--batch-tokens',
        '16',
      ]),
    ).toContain('ran in onnxruntime-web');
  });

  it('lists what it depends on', () => {
    const { components } = JSON.parse(readFileSync(join(installed, 'bin/sbom.cdx.json'), 'utf8')) as { components: { name: string }[] };
    const { dependencies } = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8')) as { dependencies: Record<string, string> };
    expect(components.map(({ name }) => name)).toEqual(expect.arrayContaining([...Object.keys(dependencies), 'onnxruntime-web']));
  });

  it('knows its version, and all its commands', () => {
    expect(turnstone(['--version']).trim()).toBe(
      (JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }).version,
    );
    for (const command of ['start', 'run', 'pack', 'inspect', 'pull', 'list'])
      expect(turnstone([command, '--help'])).toContain(`turnstone ${command}`);
    expect(turnstone(['inspect', join(installed, 'models/pebble')])).toContain('tensors');
    expect(turnstone(['list'])).toContain('smollm2');
  });

  it('is a part of a Worker of one’s own: init, its types, its test, its dry run', () => {
    turnstone(['init', 'my-app']);
    const app = join(folder, 'my-app');
    const { dependencies } = JSON.parse(readFileSync(join(app, 'package.json'), 'utf8')) as { dependencies: Record<string, string> };
    expect(realpathSync(dependencies.turnstone.replace('file:', ''))).toBe(realpathSync(installed)); // nothing else of that name
    for (const name of ['wrangler', 'typescript', '@cloudflare/workers-types']) link(name);
    const env = { PATH, HOME, CI: '1', WRANGLER_SEND_METRICS: 'false', CLOUDFLARE_CF_FETCH_ENABLED: 'false' };
    const inApp = (args: string[]) =>
      execFileSync(process.execPath, args, { cwd: app, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
    // the README's programs have the right types, too
    const [own, caller] = programsOf('README.md');
    writeFileSync(join(app, 'src/readme.ts'), own);
    const around = 'declare const env: { TURNSTONE: Fetcher; TURNSTONE_KEY: string };\nexport async function call() {\n';
    writeFileSync(join(app, 'src/caller.ts'), `${around}${caller}\nreturn answer;\n}\n`);
    inApp([join(ROOT, 'node_modules/typescript/bin/tsc'), '--noEmit']);
    expect(inApp(['--test', '--test-reporter=tap'])).toContain('# pass 3');
    expect(inApp([join(ROOT, 'node_modules/wrangler/bin/wrangler.js'), 'deploy', '--dry-run'])).toContain('env.REPLICA (Replica)');
    expect(statSync(join(app, '.dev.vars')).mode & 0o077).toBe(0);
    expect(() => turnstone(['init', 'my-app'])).toThrow('my-app is not empty');
    expect(() => turnstone(['init', 'My_App'])).toThrow('cannot be named');
  });

  /** The programs of docs/library.md and of the pages for clients, as files of a project beside the package. */
  const programs = (): string[] => {
    const [hono, sdk] = programsOf('docs/integrations.md'); // LangChain's wants a package that is not here
    const all = [...['library', 'api', 'clients'].flatMap((page) => programsOf(`docs/${page}.md`)), hono, sdk];
    for (const name of ['openai', '@types/node', 'typescript', 'ollama', 'ai', '@ai-sdk/openai-compatible', 'hono']) link(name);
    writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
    return all.map((code, i) => {
      writeFileSync(join(folder, `program-${i}.ts`), code);
      return `program-${i}`;
    });
  };

  it('is an engine for programs of one’s own: those in the docs have the right types and answer', () => {
    const names = programs();
    expect(names).toHaveLength(8); // the first three need no server; tests/local/docs.test.ts and tests/e2e/clients.test.ts run the others
    const options = ['--strict', '--noEmit', '--module', 'nodenext', '--target', 'es2023', '--lib', 'es2023,dom,dom.asynciterable'];
    const typed = (files: string[], ...more: string[]) =>
      execFileSync(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), ...options, ...more, '--types', 'node', ...files], {
        cwd: folder,
        stdio: 'inherit',
      });
    const files = names.map((name) => `${name}.ts`);
    typed(files.slice(0, 4));
    typed(files.slice(4), '--skipLibCheck'); // the clients' own types name types of packages that they do not bring
    const run = (name: string) => {
      buildSync({ entryPoints: [`${name}.ts`], outfile: join(folder, `${name}.js`), absWorkingDir: folder });
      return execFileSync(process.execPath, [`${name}.js`], { cwd: folder, env: { PATH, HOME, TMPDIR: folder }, encoding: 'utf8' });
    };
    expect(run(names[0])).toBe('I am Pebble, a small language model.\npebble, context 2048\n');
    expect(run(names[1])).toContain('5');
  });

  it.skipIf(noBrowser)(`is an engine for a page, bundled${noBrowser ? ` (skipped: ${noBrowser})` : ''}`, async () => {
    const [, , name] = programs();
    const { outputFiles } = buildSync({
      ...{ entryPoints: [`${name}.ts`], absWorkingDir: folder, bundle: true, format: 'esm', platform: 'browser', write: false },
      outdir: folder,
    });
    const types = { html: 'text/html', js: 'text/javascript', wasm: 'application/wasm' } as Record<string, string>;
    const server = createServer(({ url = '/' }, response) => {
      const path = url.replace(/^\/packs\//, '/models/').replace(/^\/wasm\//, '/.build/wasm/');
      const body =
        url === '/'
          ? '<!doctype html><body><script type="module" src="/page.js"></script>'
          : url === '/page.js'
            ? outputFiles[0].text
            : existsSync(join(installed, path)) && readFileSync(join(installed, path));
      response.writeHead(body ? 200 : 404, { 'content-type': types[path.split('.').at(-1) as string] ?? types.html });
      response.end(body || undefined);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const browser = await launchBrowser();
    try {
      const page = await browser.newPage();
      const errors: string[] = [];
      page.on('pageerror', (error) => errors.push(error.message));
      await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
      await expect.poll(async () => [await page.locator('body').textContent(), ...errors].join('')).toContain('I am Pebble');
    } finally {
      await browser.close();
      server.close();
    }
  });

  it('is served by workerd itself, from the configuration that it writes, killed and started again', async () => {
    const [file, ...args] = turnstone(['workerd', '--out', 'alone', '--port', '0']).trim().split(' ');
    expect(statSync(join(folder, 'alone/config.bin')).mode & 0o077).toBe(0); // keys are in it
    const serve = async () => {
      const child = spawn(file, [...args, '--control-fd=3'], { stdio: ['ignore', 'inherit', 'inherit', 'pipe'] });
      const [line] = (await once(createInterface({ input: child.stdio[3] as Readable }), 'line')) as [string];
      return { url: `http://127.0.0.1:${(JSON.parse(line) as { port: number }).port}`, child };
    };
    const first = await serve();
    const body = JSON.stringify({ model: 'pebble', input: 'Who are you?', temperature: 0 });
    const headers = { 'content-type': 'application/json' };
    const { id } = (await (await fetch(`${first.url}/v1/responses`, { method: 'POST', headers, body })).json()) as { id: string };
    first.child.kill('SIGKILL');
    await once(first.child, 'exit');
    const again = await serve();
    expect(await (await fetch(`${again.url}/v1/responses/${id}`)).text()).toContain('I am Pebble, a small language model.');
    again.child.kill('SIGKILL');
  });

  it('runs as its image does: killed, started again over the same volume, restored from a backup, a conversation goes on', async () => {
    const image = readFileSync(join(ROOT, 'self-host/Dockerfile'), 'utf8');
    const set = Object.fromEntries(
      [...(/^ENV (.*)$/m.exec(image)?.[1] ?? '').matchAll(/(\w+)=(\S+)/g)].map(([, name, value]) => [name, value]),
    );
    const [entry, command] = ['ENTRYPOINT', 'CMD'].map(
      (name) => JSON.parse(new RegExp(`^${name} (.*)$`, 'm').exec(image)?.[1] ?? '[]') as string[],
    );
    expect({ ...set, entry }).toMatchObject({ HOST: '0.0.0.0', STORAGE: '/data/state', entry: ['turnstone'] });
    const volume = mkdtempSync(join(folder, 'data-'));
    const vars = {
      ...Object.fromEntries(Object.entries(set).map(([name, value]) => [name, value.replace('/data', volume)])),
      ...{ STORAGE: join(volume, 'state'), PORT: '0', NPU: '0', EMBEDDER: '0', API_KEYS: 'me:sk-package-0123456789' },
    };
    const start = (storage = vars.STORAGE) =>
      launch({ ...vars, STORAGE: storage }, [process.execPath, join(installed, 'bin/index.js'), ...command]);
    const respond = async (url: string, body: object) => {
      const headers = { 'content-type': 'application/json', authorization: 'Bearer sk-package-0123456789' };
      const r = await fetch(`${url}/v1/responses`, {
        method: 'POST',
        headers,
        body: JSON.stringify({ model: 'pebble', temperature: 0, ...body }),
      });
      expect(r.status, await r.clone().text()).toBe(200);
      return (await r.json()) as { id: string; status: string };
    };
    const first = await start();
    expect((await fetch(`${first.url}/health`)).status).toBe(200);
    const { id } = await respond(first.url, { input: 'My name is Ada.' });
    await first.remove(); // SIGKILL
    const again = await start();
    expect(await respond(again.url, { input: 'What is my name?', previous_response_id: id })).toMatchObject({ status: 'completed' });
    again.child.kill('SIGTERM');
    expect(await again.ended).toBe(0);
    // a backup of the folder, restored elsewhere
    const restored = join(folder, 'restored');
    cpSync(vars.STORAGE, restored, { recursive: true });
    const third = await start(restored);
    expect(await respond(third.url, { input: 'What is my name?', previous_response_id: id })).toMatchObject({ status: 'completed' });
    await third.remove();
  });
});
