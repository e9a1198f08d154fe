/** The Worker as it is deployed, with two packs in its bucket and all its objects in one isolate: it holds one model at a time. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Miniflare } from 'miniflare';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { build, ROOT } from '../../cli/build.ts';
import { localPack, uploadPack } from '../../cli/packs.ts';
import { missing } from './server.ts';

describe.skipIf(missing)('two models of a deployed Worker', () => {
  let worker: Miniflare;
  beforeAll(async () => {
    await build(() => {}, ['wasm', 'worker']);
    const from = join(ROOT, '.build/worker');
    const wasm = readdirSync(from).filter((f) => f.endsWith('.wasm'));
    worker = new Miniflare({
      modules: [
        { type: 'ESModule', path: 'index.js', contents: readFileSync(join(from, 'index.js'), 'utf8') },
        ...wasm.map((path) => ({ type: 'CompiledWasm' as const, path, contents: readFileSync(join(from, path)) })),
      ],
      compatibilityDate: '2026-04-01',
      compatibilityFlags: ['enable_request_signal'],
      bindings: { MODEL_ID: 'pebble', MODELS: 'base', PUBLIC: '1' },
      r2Buckets: ['PACKS'],
      durableObjects: {
        REPLICA: { className: 'Replica', useSQLite: true },
        SESSION: { className: 'Session', useSQLite: true },
        SCHEDULER: { className: 'Scheduler', useSQLite: true },
      },
    });
    const bucket = await worker.getR2Bucket('PACKS');
    await uploadPack(bucket, await localPack(undefined, () => {}));
    await uploadPack(bucket, await localPack(join(ROOT, 'models/pebble/base'), () => {}));
  });
  afterAll(() => worker?.dispose());

  const ask = (model: string, more: object = {}) =>
    worker.dispatchFetch('http://turnstone/v1/completions', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model, prompt: 'Who are you?', max_tokens: 12, temperature: 0, ...more }),
    });
  const text = async (model: string) => {
    const r = await ask(model);
    const body = (await r.json()) as { model: string; choices: { text: string }[] };
    expect([r.status, body.model], JSON.stringify(body)).toEqual([200, model]);
    return body.choices[0].text;
  };

  it('answer by name, one after the other, the same each time', async () => {
    const [pebble, base] = [await text('pebble'), await text('base')];
    expect(pebble).not.toBe(base);
    expect([await text('pebble'), await text('base')]).toEqual([pebble, base]);
    const { data } = (await (await worker.dispatchFetch('http://turnstone/v1/models')).json()) as { data: { id: string }[] };
    expect(data.map((m) => m.id)).toEqual(['pebble', 'base']);
  });

  it('are never in one isolate together: while one computes the other is refused, with the arithmetic', async () => {
    const expected = await text('base');
    const long = await ask('pebble', { max_tokens: 400, ignore_eos: true, stream: true });
    const reader = long.body!.getReader();
    await reader.read();
    const refused = await ask('base');
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '1']);
    expect(((await refused.json()) as { error: { message: string } }).error.message).toMatch(
      /^'base' is not loaded: this isolate computes with 'pebble', which holds \d+ of its 128 MiB \(weights \d+, KV \d+, scratch \d+, JavaScript \d+\)/,
    );
    let rest = '';
    for (let r = await reader.read(); !r.done; r = await reader.read()) rest += new TextDecoder().decode(r.value);
    expect(rest).toContain('"finish_reason":"length"');
    expect(await text('base')).toBe(expected);
  });
});
