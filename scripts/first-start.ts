/** `npm start` where nothing was built yet, as a newcomer has it: it serves, answers, and ends when it is asked to. */
import { join } from 'node:path';
import { ROOT } from '../cli/build.ts';
import { launch } from '../tests/e2e/launcher.ts';

const began = Date.now();
const server = await launch({}, [process.execPath, join(ROOT, 'scripts/run.mjs'), 'start']);
const seconds = ((Date.now() - began) / 1000).toFixed(1);
const response = await fetch(`${server.url}/v1/chat/completions`, {
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({ messages: [{ role: 'user', content: 'Who are you?' }], temperature: 0, max_tokens: 24 }),
});
const answer = ((await response.json()) as { choices?: { message: { content: string } }[] }).choices?.[0].message.content;
server.child.kill('SIGINT');
const code = await server.ended;
await server.remove();
console.log(`serves after ${seconds} s, answers ${JSON.stringify(answer)}, ends with ${code}`);
process.exit(answer?.includes('Pebble') && code === 0 ? 0 : 1);
