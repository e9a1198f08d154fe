import { execFileSync, spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { ROOT } from '../../cli/build.ts';
import { simulateCommand } from '../../cli/commands/simulate.ts';
import { processesOf } from '../../cli/commands/start.ts';
import { LIST, type VerifyFlags, verifyCommand } from '../../cli/commands/verify.ts';
import { progress } from '../../cli/progress.ts';
import { readMetrics } from '../../cli/prometheus.ts';
import { signList } from '../../cli/sign.ts';
import { Registry } from '../../openai/prometheus.ts';

const turnstone = (...args: string[]): string =>
  execFileSync(process.execPath, ['--import', 'tsx', join(ROOT, 'cli/index.ts'), ...args], { cwd: ROOT, encoding: 'utf8' });

it('completes commands, flags of settings with their values, and models', () => {
  expect(turnstone('complete', '--', 'st')).toMatch(/^start\t.*\nstages\t/);
  expect(turnstone('complete', '--', 'start', '--po')).toMatch(/^--port\tport to listen on/);
  expect(turnstone('complete', '--', 'start', '--kv', '')).toContain('i8');
  expect(turnstone('complete', '--', 'run', 'smol')).toMatch(/^smollm2\t/);
  expect(turnstone('complete', '--', 'start', '--api'), 'a secret is no flag').not.toContain('--api-keys');
});

it.each([
  [true, '\r\x1b[Ka\r\x1b[Kb\r\x1b[Kc\r\x1b[K'],
  [false, 'b\n'],
])('shows how far it is (a terminal: %s): one line there, elsewhere a line every ten seconds', (isTTY, shown) => {
  vi.useFakeTimers({ toFake: ['performance'] });
  let text = '';
  const show = progress({ isTTY, write: (piece: string | Uint8Array) => Boolean((text += piece)) });
  show('a');
  vi.advanceTimersByTime(10_000);
  show('b');
  show('c');
  show();
  vi.useRealTimers();
  expect(text).toBe(shown);
});

it('shows a model as JSON', () => {
  expect(JSON.parse(turnstone('show', 'smollm2', '--json'))).toMatchObject({ name: 'smollm2', licence: 'apache-2.0', parameters: '135 M' });
});

it('simulates as JSON', async () => {
  let text = '';
  const printed = vi.spyOn(console, 'log').mockImplementation((line: string) => {
    text = line;
  });
  const shape = { model: 'pebble', device: 'maia-200', batch: 1, chips: 1, numbers: 'w4', json: true };
  await simulateCommand({ ...shape, prompt: ['16'] }).finally(() => printed.mockRestore());
  const [{ prompt, result }] = JSON.parse(text);
  expect([prompt, result.us > 0]).toEqual([16, true]);
});

it('every command that prints facts does so as JSON, too', () => {
  const text = readFileSync(join(ROOT, 'cli/index.ts'), 'utf8');
  const commands = [...text.matchAll(/\.command\('([a-z-]+)[^']*'(, \{ hidden: true \})?\)(.*?)\.action\(/gs)];
  const without = commands.filter(([, , hidden, options]) => !hidden && !options.includes("'--json'")).map(([, name]) => name);
  expect(without.sort()).toEqual(['adapters', 'build', 'gpu-host', 'init', 'rm', 'start', 'workerd']); // these do something, or serve
});

it('ends with 1 and says why where something is wrong', () => {
  const none = spawnSync(process.execPath, ['--import', 'tsx', join(ROOT, 'cli/index.ts'), 'inspect', 'no-such-file'], {
    encoding: 'utf8',
  });
  expect([none.status, none.stderr]).toEqual([1, 'turnstone: no-such-file: there is no such file or folder\n']);
});

describe('the shipped models', () => {
  const folder = mkdtempSync(join(tmpdir(), 'turnstone-verify-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const told = (o: VerifyFlags, where?: string) => {
    const lines: string[] = [];
    verifyCommand({ ...o, json: true }, (line) => void lines.push(line), where);
    return JSON.parse(lines[0]) as { files: object[]; signed: boolean };
  };

  it('are those of the list', () => expect(told({})).toMatchObject({ signed: false, files: { length: 6 } }));

  it('are signed with a key, and neither a byte, the list nor the key can be another', () => {
    const models = join(folder, 'models');
    cpSync(join(ROOT, 'models/dunlin'), join(models, 'dunlin'), { recursive: true });
    const list = readFileSync(join(ROOT, 'models', LIST), 'utf8')
      .split('\n')
      .filter((line) => line.includes('dunlin'));
    writeFileSync(join(models, LIST), `${list.join('\n')}\n`);
    const pair = (name: string) => {
      const { privateKey, publicKey } = generateKeyPairSync('ed25519');
      const [key, pub] = [join(folder, `${name}.pem`), join(folder, `${name}.pub.pem`)];
      writeFileSync(key, privateKey.export({ type: 'pkcs8', format: 'pem' }));
      writeFileSync(pub, publicKey.export({ type: 'spki', format: 'pem' }));
      return { key, pub };
    };
    const [own, other] = [pair('own'), pair('other')];
    expect(() => told({ key: own.pub }, models)).toThrow('is not signed here');
    signList(own.key, models);
    expect(told({ key: own.pub }, models).signed).toBe(true);
    expect(() => told({ key: other.pub }, models)).toThrow('is not signed with the key');
    const changed = (path: string, message: string) => {
      const bytes = readFileSync(join(models, path));
      writeFileSync(join(models, path), Buffer.concat([bytes.subarray(0, -1), Buffer.from([bytes[bytes.length - 1] ^ 1])]));
      expect(() => told({ key: own.pub }, models)).toThrow(message);
      writeFileSync(join(models, path), bytes);
    };
    const wrong = join(models, 'dunlin/tokenizer.json');
    const whole = readFileSync(wrong);
    writeFileSync(wrong, 'x');
    expect(() => signList(own.key, models)).toThrow('dunlin/tokenizer.json is not what was published');
    writeFileSync(wrong, whole);
    changed('dunlin/model.onnx', 'dunlin/model.onnx is not what was published');
    changed(LIST, 'is not signed with the key');
    expect(told({ key: own.pub }, models).signed).toBe(true);
  });
});

it('PROCESSES=auto is a process for each core, within what may be', () => {
  expect([1, 2, 64].map((cores) => processesOf('auto', cores))).toEqual(['1', '2', '16']);
  expect([undefined, '', '3', 'many'].map((value) => processesOf(value, 8))).toEqual([undefined, '', '3', 'many']);
});

it('reads back the metrics that a server writes', () => {
  const r = new Registry({ model_name: 'a "b"' });
  r.gauge('running', 'Running.').set(3);
  const total = r.counter('calls_total', 'Calls.');
  total.add(2, { place: 'x' });
  total.add(5, { place: 'y' });
  const of = readMetrics(r.render());
  expect(of('running', {})).toEqual([3]);
  expect(of('calls_total', {}).sort()).toEqual([2, 5]);
  expect(of('calls_total', { place: 'y' })).toEqual([5]);
  expect(of('calls', {})).toEqual([]);
});
