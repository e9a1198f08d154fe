/** The server in a process that may be killed: `tsx session-server.ts PORT STATE`. Prints READY; answers `turn ID` lines on stdin. */
import { createInterface } from 'node:readline';
import { sessionName, sessionOf } from '../../durable-objects/session/ids.ts';
import type { SessionPort } from '../../durable-objects/session/port.ts';
import { startTestServer } from './server.ts';

const [port, state] = process.argv.slice(2);
const server = await startTestServer({ SESSION_BYTES: '67108864' }, { port: Number(port), persist: state });
const sessions = await server.miniflare.getDurableObjectNamespace('SESSION');
createInterface({ input: process.stdin }).on('line', async (line) => {
  const id = line.split(' ')[1];
  const name = sessionName('public', sessionOf(id) ?? '');
  const stub = sessions.get(sessions.idFromName(name)) as unknown as SessionPort;
  const { response } = (await stub.get(id))!;
  const events = (await (await stub.fetch(`https://session/events?response=${id}`)).text()).trim().split('\n');
  const stored = response.starts.map((n) =>
    events
      .map((line) => JSON.parse(line) as { index?: number; text: string })
      .filter((e) => e.index !== undefined && e.index < n)
      .reduce((sum, e) => sum + e.text.length, 0),
  );
  console.log(`TURN ${JSON.stringify({ seed: response.seed, stored })}`);
});
console.log(`READY ${server.url} ${server.model}`);
