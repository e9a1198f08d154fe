/** `/openapi.json` beside what it describes: the routes that are there, and the readers that check requests. */
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import { describe, expect, it } from 'vitest';
import { ApiError } from '../../openai/errors.ts';
import { BODIES, bodySchema, openApi } from '../../openai/openapi/document.ts';
import { parseCountTokens, parseMessages } from '../../openai/requests/anthropic.ts';
import { parseBatch } from '../../openai/requests/batches.ts';
import { parseChat } from '../../openai/requests/chat.ts';
import { parseCompletion } from '../../openai/requests/completion.ts';
import {
  parseCompact,
  parseConversation,
  parseConversationItems,
  parseConversationUpdate,
  parseInputTokens,
} from '../../openai/requests/conversations.ts';
import { parseEmbeddings } from '../../openai/requests/embeddings.ts';
import { parseOllamaChat, parseOllamaGenerate } from '../../openai/requests/ollama.ts';
import { parseRerank, parseScore } from '../../openai/requests/rerank.ts';
import { parseResponses } from '../../openai/requests/responses.ts';
import { parseApplyTemplate, parseDetokenize, parseTokenize } from '../../openai/requests/tokenize.ts';
import { createApp, routePaths } from '../../serving/app.ts';
import { CLOCK } from '../../serving/host.ts';

const document = openApi() as { paths: Record<string, Record<string, object>>; components: { schemas: object } };
const ajv = new Ajv2020({ strict: false, validateFormats: false });
ajv.addSchema({ $id: 'turnstone', components: document.components });
const localised = (schema: object): object =>
  JSON.parse(JSON.stringify(schema).replaceAll('"#/components/', '"turnstone#/components/')) as object;
const compiled = new Map<string, ValidateFunction>();
const valid = (path: string, body: unknown): boolean => {
  if (!compiled.has(path)) compiled.set(path, ajv.compile(localised(bodySchema(BODIES[path]))));
  return compiled.get(path)!(body) as boolean;
};

const messages = [{ role: 'user', content: 'hi' }];
const tool = { type: 'function', function: { name: 'f', parameters: { type: 'object' } } };
/** Each route's reader, and a request that it takes; the tools are there for the parameters that need them. */
const READERS: Record<string, [read: (body: unknown) => unknown, base: object]> = {
  '/v1/chat/completions': [parseChat, { messages }],
  '/v1/completions': [parseCompletion, { prompt: 'x' }],
  '/v1/responses': [parseResponses, { input: 'x' }],
  '/v1/responses/input_tokens': [parseInputTokens, { input: 'x' }],
  '/v1/responses/compact': [parseCompact, { input: 'x' }],
  '/v1/conversations': [parseConversation, {}],
  '/v1/conversations/{id}': [parseConversationUpdate, {}],
  '/v1/conversations/{id}/items': [parseConversationItems, { items: [] }],
  '/v1/messages': [parseMessages, { messages, max_tokens: 5 }],
  '/v1/messages/count_tokens': [parseCountTokens, { messages }],
  '/api/chat': [parseOllamaChat, { messages }],
  '/api/generate': [parseOllamaGenerate, { prompt: 'x' }],
  '/v1/embeddings': [parseEmbeddings, { input: 'x' }],
  '/v1/rerank': [parseRerank, { query: 'x', documents: ['x'] }],
  '/v1/score': [parseScore, { text_1: 'x', text_2: 'x' }],
  '/v1/batches': [parseBatch, { input_file_id: 'f', endpoint: '/v1/responses', completion_window: '24h' }],
  '/v1/tokenize': [parseTokenize, { prompt: 'x' }],
  '/v1/apply-template': [parseApplyTemplate, { messages }],
  '/v1/detokenize': [parseDetokenize, { tokens: [1] }],
};

/** Values of every kind, small and large: what one takes, the other must. */
const PROBES: unknown[] = [
  ...[null, true, false, 0, 1, -1, 2, 3, 0.5, -2.5, 17, 21, 1e9, 2 ** 60, '', 'x', 'auto', 'none', 'required', 'low', '24h', 'created_at'],
  ...[
    '/v1/chat/completions',
    'float',
    'disabled',
    'a'.repeat(70),
    'a'.repeat(300),
    [],
    [1],
    [-1],
    [1.5],
    ['x'],
    [''],
    [[1]],
    [{}],
    [null],
    {},
  ],
  ...[
    { a: 1 },
    { a: 'x' },
    { type: 'text' },
    { type: 'json_object' },
    { type: 'other' },
    { id: 'x' },
    { id: 5 },
    { effort: 'low' },
    { effort: 'most' },
  ],
  ...[
    { format: { type: 'text' } },
    { format: 5 },
    { include_usage: true },
    { other: 1 },
    { regex: 'a' },
    { '5': 1 },
    { '5': 101 },
    { x: 1 },
  ],
  ...[
    { type: 'enabled' },
    { type: 'json_schema', json_schema: { name: 'x' } },
    { type: 'json_schema', name: 'x' },
    { anchor: 'created_at', seconds: 3600 },
  ],
  ...[
    messages,
    [{ role: 'user' }],
    [{ role: 'nobody', content: 'x' }],
    [{ role: 'assistant', content: null }],
    [{ type: 'item_reference', id: 'x' }],
  ],
  ...[
    [{ role: 'user', content: [{ type: 'text', text: 'x' }] }],
    [tool],
    [{ type: 'function', name: 'f' }],
    [{ name: 'f', input_schema: {} }],
  ],
  ...[
    [{ type: 'web_search' }],
    [{ type: 'compaction', encrypted_content: 'x' }],
    [{ id: 'x' }],
    [{ type: 'text', text: 'x' }],
    [{ text: 'x' }],
    [{ text: '' }],
    Array(65).fill('x'),
  ],
  ...[Array(5).fill('x'), Array(129).fill(tool), Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`k${i}`, 'x']))],
];

/** What one parameter's value is refused for lies in another: it is not its own schema's to say. */
const BETWEEN: Readonly<Record<string, RegExp>> = {
  choices: /tool_choice|asks for a call/,
  calls: /needs 'content' or 'tool_calls'/,
  ends: /needs a last message|both possible/,
  forms: /both say what|send one of them|Send either|differ; send|as many; they differ/,
  needs: /needs 'store'|needs 'logprobs'|only allowed when|only equal 'n'|nobody else keeps|only where the prompt|than 64/,
  twice: /is given twice|is no JSON|holds nothing to answer/,
};

describe.each(Object.entries(READERS))('POST %s', (path, [read, base]) => {
  const attempt = (body: object): { taken: boolean; between: boolean; why?: string } => {
    try {
      read(body);
      return { taken: true, between: false };
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 400) throw error;
      return { taken: false, between: Object.values(BETWEEN).some((why) => why.test(error.message)), why: error.message };
    }
  };

  it('has its example, and none with a name that nobody knows', () => {
    expect(valid(path, base)).toBe(true);
    expect(attempt(base).taken).toBe(true);
    expect(valid(path, { ...base, temprature: 1 })).toBe(false);
  });

  it('says of every parameter what its reader says: the same values are taken and refused', () => {
    const differ: string[] = [];
    let taken = 0;
    for (const name of Object.keys(BODIES[path].parameters)) {
      for (const probe of PROBES) {
        const body = { ...base, [name]: probe };
        const reader = attempt(body);
        if (reader.between) continue;
        if (reader.taken) taken++;
        if (valid(path, body) !== reader.taken)
          differ.push(
            `${name} = ${JSON.stringify(probe).slice(0, 80)}: the reader ${reader.taken ? 'takes' : 'refuses'} it ${reader.why ?? ''}`,
          );
      }
    }
    expect(differ).toEqual([]);
    expect(taken).toBeGreaterThan(Object.keys(BODIES[path].parameters).length);
  });

  it('knows each parameter that is read by more than its name', () => {
    const { parameters, schemas } = BODIES[path];
    const read = Object.entries(parameters).flatMap(([name, p]) => (p === 'read' ? [name] : []));
    expect(read.filter((name) => !Object.hasOwn(schemas, name))).toEqual([]);
  });
});

it('has every route that is served, and no other', () => {
  const served = routePaths().filter((r) => !/ \/(admin|packs|v1\/npu)\b|POST \/v1\/responses\/\{id\}$/.test(r));
  const told = Object.entries(document.paths).flatMap(([path, methods]) => Object.keys(methods).map((m) => `${m.toUpperCase()} ${path}`));
  expect(told.sort()).toEqual([...new Set(served)].sort());
});

it('is OpenAPI 3.1: names of operations are distinct, references lead somewhere, paths name their parameters', () => {
  const text = JSON.stringify(document);
  const operations = Object.values(document.paths).flatMap((m) => Object.values(m)) as { operationId: string; responses: object }[];
  expect(new Set(operations.map((o) => o.operationId)).size).toBe(operations.length);
  for (const [, name] of text.matchAll(/#\/components\/schemas\/(\w+)/g)) expect(document.components.schemas).toHaveProperty(name);
  for (const [path, methods] of Object.entries(document.paths)) {
    const names = [...path.matchAll(/\{(\w+)\}/g)].map((m) => m[1]);
    for (const o of Object.values(methods) as { parameters?: { name: string }[] }[])
      expect((o.parameters ?? []).map((p) => p.name)).toEqual(names);
  }
});

it('is served to everybody', async () => {
  const app = createApp({
    vars: { API_KEYS: 'sk-0123456789' },
    replica: () => ({ fetch: async () => new Response() }),
    secret: async () => '',
    clock: CLOCK,
  });
  const answer = await app.fetch(new Request('http://localhost/openapi.json'));
  expect(await answer.json()).toEqual(JSON.parse(JSON.stringify(document)));
});
