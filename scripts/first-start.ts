/** `npm start` where nothing was built yet, as a newcomer has it: it serves, answers, and ends when it is asked to. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from '../cli/build.ts';

const began = Date.now();
const storage = mkdtempSync(join(tmpdir(), 'turnstone-first-'));
const child = spawn(process.execPath, [join(ROOT, 'scripts/run.mjs'), 'start'], {
  cwd: ROOT,
  env: { ...process.env, PORT: '0', STORAGE: storage },
  stdio: ['ignore', 'pipe', 'inherit'],
});
const ended = new Promise<number | null>((done) => child.once('exit', done));
let said = '';
const url = await new Promise<string>((done, fail) => {
  child.stdout.on('data', (d) => {
    said += d;
    const found = /http:\/\/127\.0\.0\.1:\d+/.exec(said);
    if (found) done(found[0]);
  });
  child.once('exit', (code) => fail(new Error(`npm start ended with ${code}:\n${said}`)));
});
const seconds = ((Date.now() - began) / 1000).toFixed(1);
const response = await fetch(`${url}/v1/chat/completions`, {
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ messages: [{ role: 'user', content: 'Who are you?' }], temperature: 0, max_tokens: 24 }),
});
const answer = ((await response.json()) as { choices?: { message: { content: string } }[] }).choices?.[0].message.content;
child.kill('SIGINT');
const code = await ended;
rmSync(storage, { recursive: true, force: true });
console.log(`serves after ${seconds} s, answers ${JSON.stringify(answer)}, ends with ${code}`);
process.exit(answer?.includes('Pebble') && code === 0 ? 0 : 1);
