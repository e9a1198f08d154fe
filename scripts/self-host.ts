/** `npx tsx scripts/self-host.ts`: what self-host/ has beside the image, tried by the programs that it is for, where they are here: systemd, Caddy, Prometheus. Prints what it runs. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { ROOT } from '../cli/build.ts';
import { startServer } from '../cli/start.ts';

const KEY = 'sk-proxy-0123456789';
const folder = mkdtempSync(join(tmpdir(), 'turnstone-self-host-'));
const here = (file: string) => spawnSync('sh', ['-c', `command -v ${file}`]).status === 0;

function run(file: string, ...args: string[]): void {
  console.log(`$ ${file} ${args.join(' ')}`);
  execFileSync(file, args, { cwd: ROOT, stdio: ['ignore', 'ignore', 'pipe'] });
  console.log('  ✓');
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}

/** The times at which pieces of a streamed answer came, ms. */
async function streamed(port: number, ca: string): Promise<number[]> {
  const body = {
    model: 'pebble',
    stream: true,
    ignore_eos: true,
    max_tokens: 400,
    messages: [{ role: 'user', content: 'Tell me about the sea.' }],
  };
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${KEY}` };
  const sent = request({ host: 'localhost', port, path: '/v1/chat/completions', method: 'POST', headers, ca });
  sent.end(JSON.stringify(body));
  const [response] = (await once(sent, 'response')) as [import('node:http').IncomingMessage];
  const times: number[] = [];
  let text = '';
  for await (const piece of response) {
    times.push(performance.now());
    text += piece;
  }
  if (response.statusCode !== 200 || !text.includes('[DONE]')) throw new Error(`${response.statusCode}: ${text.slice(0, 300)}`);
  return times;
}

/** The Caddyfile as it is, but for the name, the ports, and certificates of a local authority in place of a public one. */
async function caddy(): Promise<void> {
  run('caddy', 'validate', '--adapter', 'caddyfile', '--config', 'self-host/Caddyfile');
  const server = await startServer({ port: 0, persist: join(folder, 'state'), vars: { API_KEYS: `me:${KEY}` } });
  const port = await freePort();
  const config = readFileSync(join(ROOT, 'self-host/Caddyfile'), 'utf8')
    .replace('llm.example.com {', `https://localhost:${port} {\n\ttls internal`)
    .replace('127.0.0.1:8787', new URL(server.url).host);
  const file = join(folder, 'Caddyfile');
  writeFileSync(file, `{\n\tadmin off\n\tskip_install_trust\n\tauto_https disable_redirects\n}\n${config}`);
  console.log(`$ caddy run --config ${file} --adapter caddyfile`);
  const env = { ...process.env, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder };
  const proxy = spawn('caddy', ['run', '--config', file, '--adapter', 'caddyfile'], { env, stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  proxy.stderr.on('data', (d) => void (said += d));
  try {
    const root = join(folder, 'caddy/pki/authorities/local/root.crt');
    for (let i = 0; i < 300 && !(existsSync(root) && said.includes('serving initial configuration')); i++) await pause(100);
    const times = await streamed(port, readFileSync(root, 'utf8'));
    const [first, last] = [times[0], times.at(-1) as number];
    if (times.length < 3 || last - first < 20)
      throw new Error(`the answer came in ${times.length} pieces within ${(last - first).toFixed(0)} ms: it was held back`);
    console.log(`  ✓ over TLS, its certificate checked: a streamed answer in ${times.length} pieces over ${(last - first).toFixed(0)} ms`);
  } catch (error) {
    throw new Error(`${(error as Error).message}\n${said}`);
  } finally {
    proxy.kill();
    await server.stop();
  }
}

try {
  const without = (program: string) => console.log(`skipped: ${program} is not here`);
  if (here('systemd-analyze')) run('systemd-analyze', 'verify', 'self-host/turnstone.service');
  else without('systemd-analyze');
  if (here('caddy')) await caddy();
  else without('caddy');
  if (here('promtool')) run('promtool', 'check', 'config', 'self-host/monitoring/prometheus.yml');
  else without('promtool');
} finally {
  rmSync(folder, { recursive: true, force: true });
}
