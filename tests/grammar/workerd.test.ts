import { Ajv2020 } from 'ajv/dist/2020.js';
import { Miniflare } from 'miniflare';
import { build } from 'vite';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { schemas } from './schemas.ts';

let server: Miniflare;

beforeAll(async () => {
  const result = await build({
    configFile: false,
    logLevel: 'silent',
    ssr: { noExternal: true },
    build: {
      ssr: new URL('in-workerd.ts', import.meta.url).pathname,
      write: false,
      target: 'esnext',
      rollupOptions: { output: { format: 'es' } },
    },
  });
  if (!('output' in result)) throw new Error('vite built no output');
  server = new Miniflare({
    modules: [{ type: 'ESModule', path: 'in-workerd.js', contents: result.output[0].code }],
    compatibilityDate: '2026-04-01',
    cf: false,
  });
  await server.ready;
});

afterAll(() => server?.dispose());

it('grammars run inside workerd', async () => {
  const response = await server.dispatchFetch('http://localhost/');
  const { texts, call } = (await response.json()) as { texts: string[][]; call: string };
  const ajv = new Ajv2020({ strict: false, validateFormats: false });
  expect(texts.length).toBe(schemas.length);
  texts.forEach((drawn, i) => {
    const validate = ajv.compile(schemas[i][1]);
    for (const text of drawn) expect([text, validate(JSON.parse(text))]).toEqual([text, true]);
  });
  expect(call).toMatch(/^<tool_call>\n\{"name": "save", "arguments": \{"name": ".+", "age": \d+\}\}\n<\/tool_call>$/);
});
