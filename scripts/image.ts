/**
 * `npx tsx scripts/image.ts [--from COMMIT] [--built]`: builds the image (or takes the one that is there) and uses it as docs/self-host.md says, without a network: asked, killed, started again,
 * stopped under an answer, backed up, restored, upgraded from that commit's image over one volume, and run by the compose file. Needs Docker. Prints what it runs.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ROOT } from '../cli/build.ts';
import { standIn } from './image-base.ts';

const { values: options } = parseArgs({ options: { from: { type: 'string' }, built: { type: 'boolean' } } });
const BASE = /^FROM (\S+)/m.exec(readFileSync(join(ROOT, 'self-host/Dockerfile'), 'utf8'))?.[1] as string;
const WAIT_MS = 300_000;
const KEY = 'sk-image-0123456789';
/** As the compose file hardens it, and cut off from every network. */
const HARDENED = [
  '--init',
  '--network',
  'none',
  '--read-only',
  '--tmpfs',
  '/tmp',
  '--cap-drop',
  'ALL',
  '--security-opt',
  'no-new-privileges:true',
];
const folder = mkdtempSync(join(tmpdir(), 'turnstone-image-'));
const made = { containers: new Set<string>(), volumes: new Set<string>() };

function docker(...args: string[]): string {
  console.log(`$ docker ${args.map((a) => (/[\s"'$]/.test(a) ? JSON.stringify(a) : a)).join(' ')}`);
  return execFileSync('docker', args, {
    cwd: ROOT,
    encoding: 'utf8',
    maxBuffer: 1 << 26,
    env: { ...process.env, DOCKER_BUILDKIT: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  }).trim();
}

const quiet = (...args: string[]) => spawnSync('docker', args, { encoding: 'utf8' });

function check(holds: boolean, what: string): void {
  console.log(`  ${holds ? '✓' : '✗'} ${what}`);
  if (!holds) throw new Error(what);
}

/** A function of a program in the container, which has Node and loopback and nothing else. */
function inside(container: string, code: string): string {
  const r = quiet('exec', container, 'node', '--input-type=module', '-e', code);
  if (r.status !== 0) throw new Error(r.stderr);
  return r.stdout.trim();
}

const asks = (path: string, body: object) =>
  `await fetch('http://127.0.0.1:8787${path}', { method: 'POST', headers: { 'content-type': 'application/json', authorization: 'Bearer ${KEY}' }, body: ${JSON.stringify(JSON.stringify({ model: 'pebble', temperature: 0, ...body }))} })`;

interface Answered {
  id: string;
  text: string;
  cached: number;
}
/** An answer that is stored, after `previous` when it is given. */
function respond(container: string, input: string, previous?: string): Answered {
  const body = { input, ...(previous && { previous_response_id: previous }) };
  const text = inside(
    container,
    `const r = ${asks('/v1/responses', body)}; const a = await r.json(); if (!r.ok) throw new Error(JSON.stringify(a));
    console.log(JSON.stringify({ id: a.id, text: a.output.at(-1).content[0].text, cached: a.usage.input_tokens_details.cached_tokens }));`,
  );
  const answer = JSON.parse(text) as Answered;
  console.log(`  ${JSON.stringify(input)} → ${JSON.stringify(answer.text)}, ${answer.cached} tokens of its prompt were kept`);
  return answer;
}

async function healthy(container: string): Promise<void> {
  const from = performance.now();
  for (;;) {
    const [status, health] = told('inspect', '--format', '{{.State.Status}} {{.State.Health.Status}}', container).split(' ');
    if (health === 'healthy') break;
    if (status === 'exited' || performance.now() - from > WAIT_MS) throw new Error(`not healthy: ${quiet('logs', container).stdout}`);
    await new Promise((done) => setTimeout(done, 200));
  }
  console.log(`  ✓ healthy after ${((performance.now() - from) / 1000).toFixed(1)} s, by the image's own check`);
}
/** What a command prints that is not worth showing. */
const told = (...args: string[]) => quiet(...args).stdout.trim();

async function start(image: string, volume: string, name: string, ...more: string[]): Promise<string> {
  made.containers.add(name);
  made.volumes.add(volume);
  docker('run', '--detach', '--name', name, ...HARDENED, '--volume', `${volume}:/data`, '--env', `API_KEYS=me:${KEY}`, ...more, image);
  await healthy(name);
  return name;
}

function remove(container: string): void {
  quiet('rm', '--force', container);
  made.containers.delete(container);
}

/** Stops it while an answer is written: that one is finished. */
async function stopsGently(container: string): Promise<void> {
  const body = { messages: [{ role: 'user', content: 'Tell me about the sea.' }], stream: true, ignore_eos: true, max_tokens: 1500 };
  const code = `const r = ${asks('/v1/chat/completions', body)}; for await (const piece of r.body) process.stdout.write(piece);`;
  const child = spawn('docker', ['exec', container, 'node', '--input-type=module', '-e', code], { stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  await new Promise<void>((begun) => child.stdout.on('data', (d) => begun(void (said += d))));
  const before = said.length;
  const closed = new Promise((done) => child.once('close', done));
  docker('stop', '--time', '40', container);
  await closed;
  const exit = told('inspect', '--format', '{{.State.ExitCode}}', container);
  check(
    said.length > before && said.includes('"finish_reason":"length"') && said.includes('[DONE]'),
    `an answer that was running came whole: ${said.split('data: ').length - 2} pieces`,
  );
  check(exit === '0', `exit code ${exit}`);
}

try {
  console.log(docker('version', '--format', 'Docker {{.Server.Version}}, {{.Server.Os}} {{.Server.Arch}}'));
  if (quiet('image', 'inspect', BASE).status !== 0 && quiet('pull', BASE).status !== 0)
    console.log(`  ${BASE} cannot be pulled here; in its place: ${standIn(BASE, docker)}`);

  const from = performance.now();
  if (!options.built) docker('build', '--file', 'self-host/Dockerfile', '--tag', 'turnstone', '.');
  console.log(`  ✓ built in ${((performance.now() - from) / 1000).toFixed(0)} s`);
  const size = (image: string) => Number(told('image', 'inspect', '--format', '{{.Size}}', image));
  console.log(`  ${(size('turnstone') / 1e6).toFixed(0)} MB, of which its base is ${(size(BASE) / 1e6).toFixed(0)}`);

  console.log('\n== used, killed, started again');
  const first = await start('turnstone', 'turnstone-image', 'turnstone-image');
  check(docker('exec', first, 'id', '-un') === 'node', 'runs as node');
  check(quiet('exec', first, 'sh', '-c', 'echo x > /usr/local/x').status !== 0, 'cannot write beside /data');
  check(
    inside(first, `console.log((await import('node:os')).networkInterfaces().eth0 ?? 'none')`) === 'none',
    'has no network but loopback',
  );
  const one = respond(first, 'My name is Ada.');
  const asked = respond(first, 'What is my name?', one.id);
  docker('kill', '--signal', 'KILL', first);
  docker('start', first);
  await healthy(first);
  const two = respond(first, 'What is my name?', one.id);
  check(two.text === asked.text && two.cached > 0, 'the conversation goes on from what was stored, with the same answer as before');

  console.log('\n== backed up while stopped, restored into another volume');
  await stopsGently(first);
  docker(
    'run',
    '--rm',
    '--volume',
    'turnstone-image:/data:ro',
    '--volume',
    `${folder}:/backup`,
    '--user',
    '0',
    '--entrypoint',
    'tar',
    'turnstone',
    '-czf',
    '/backup/turnstone.tgz',
    '-C',
    '/data',
    'state',
  );
  docker(
    'run',
    '--rm',
    '--volume',
    'turnstone-restored:/data',
    '--user',
    '0',
    '--volume',
    `${folder}:/backup:ro`,
    '--entrypoint',
    'tar',
    'turnstone',
    '-xzf',
    '/backup/turnstone.tgz',
    '-C',
    '/data',
  );
  const restored = await start('turnstone', 'turnstone-restored', 'turnstone-restored');
  const same = respond(restored, 'What is my name?', one.id);
  check(same.text === two.text, 'the same answer');
  remove(restored);

  if (options.from) {
    console.log(
      `\n== upgraded from ${execFileSync('git', ['log', '-1', '--format=%h of %ad', '--date=format:%F %H:%M', options.from], { cwd: ROOT, encoding: 'utf8' }).trim()}`,
    );
    execFileSync('sh', ['-c', 'mkdir "$0/src" && git archive "$1" | tar -x -C "$0/src"', folder, options.from], { cwd: ROOT });
    docker('build', '--file', 'self-host/Dockerfile', '--tag', 'turnstone:before', join(folder, 'src'));
    const before = await start('turnstone:before', 'turnstone-upgraded', 'turnstone-before');
    const old = respond(before, 'My name is Ada.');
    docker('stop', '--time', '40', before);
    remove(before);
    const now = await start('turnstone', 'turnstone-upgraded', 'turnstone-after');
    const next = respond(now, 'What is my name?', old.id);
    check(next.text === two.text, 'the conversation of before goes on, with the same answer');
    remove(now);
  }

  console.log('\n== the compose file');
  const compose = quiet('compose', 'version').status === 0 ? ['docker', 'compose'] : ['docker-compose'];
  const env = {
    ...process.env,
    DOCKER_BUILDKIT: '1',
    COMPOSE_DOCKER_CLI_BUILD: '1',
    API_KEYS: `me:${KEY}`,
    MODEL: 'pebble',
    COMPOSE_PROJECT_NAME: 'turnstone-image',
  };
  const up = (...args: string[]) => {
    const [file, ...words] = [...compose, '--file', 'self-host/compose.yaml', ...args];
    console.log(`$ API_KEYS=me:${KEY} MODEL=pebble ${file} ${words.join(' ')}`);
    return execFileSync(file, words, { cwd: ROOT, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim();
  };
  up('up', '--detach', '--build');
  try {
    await healthy(up('ps', '--quiet', 'turnstone'));
    const r = await fetch('http://127.0.0.1:8787/v1/models', { headers: { authorization: `Bearer ${KEY}` } });
    check(r.ok, `its port answers: ${await r.text()}`);
    check((await fetch('http://127.0.0.1:8787/v1/models')).status === 401, 'without a key: 401');
  } finally {
    up('down', '--volumes');
  }
  console.log('\nall held');
} finally {
  for (const container of made.containers) quiet('rm', '--force', container);
  for (const volume of made.volumes) quiet('volume', 'rm', '--force', volume);
  rmSync(folder, { recursive: true, force: true });
}
