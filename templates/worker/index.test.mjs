// The Worker as it is deployed, in workerd on this machine: npm test
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { unstable_dev } from 'wrangler';

let worker;
before(async () => {
  worker = await unstable_dev('src/index.ts', {
    config: 'wrangler.toml',
    persist: false,
    experimental: { disableExperimentalWarning: true },
  });
});
after(() => worker.stop());

test('answers a question', async () => {
  const answer = await worker.fetch('/ask?q=Who%20are%20you%3F');
  assert.equal(answer.status, 200);
  assert.ok((await answer.text()).length > 3);
});

test('a question is asked for', async () => {
  assert.equal((await worker.fetch('/ask')).status, 400);
});

test("OpenAI's API is for those with a key", async () => {
  assert.equal((await worker.fetch('/v1/models')).status, 401);
  const key = /^API_KEYS="?\w+:(\w+)/m.exec(readFileSync('.dev.vars', 'utf8'))[1];
  const models = await worker.fetch('/v1/models', { headers: { authorization: `Bearer ${key}` } });
  assert.equal((await models.json()).data[0].id, 'pebble');
});
