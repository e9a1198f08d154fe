import { expect, it } from 'vitest';
import { missing, startTestServer } from './server.ts';

if (missing) console.warn(`skipped: ${missing}`);

// a replica speaks once a second: with so short a lease each of its heartbeats is late
it.skipIf(missing)('a plain answer is never given up because a heartbeat was late', async () => {
  const server = await startTestServer({ LEASE_S: '0.1' });
  try {
    const ask = { model: server.model, prompt: 'Once upon a time', max_tokens: 1900, min_tokens: 1900, n: 4, temperature: 1 };
    const headers = { 'content-type': 'application/json' };
    const answers = await Promise.all(
      [true, false].map((stream) =>
        fetch(`${server.url}/v1/completions`, { method: 'POST', headers, body: JSON.stringify({ ...ask, stream }) }).then((r) => r.text()),
      ),
    );
    for (const text of answers) expect(text.slice(-300)).not.toContain('lease_over');
    expect(answers[0].endsWith('data: [DONE]\n\n')).toBe(true);
    expect(JSON.parse(answers[1]).choices).toHaveLength(4);
  } finally {
    await server.stop();
  }
});
