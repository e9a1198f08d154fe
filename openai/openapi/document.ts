/** `/openapi.json`: every route of the API, with the parameters of the tables that requests are checked by. */

import { messagesParameters } from '../requests/anthropic.ts';
import { batchParameters, fileParameters } from '../requests/batches.ts';
import {
  compactParameters,
  conversationItemsParameters,
  conversationParameters,
  conversationUpdateParameters,
  inputTokensParameters,
} from '../requests/conversations.ts';
import { embeddingsParameters } from '../requests/embeddings.ts';
import { ollamaChatParameters, ollamaGenerateParameters } from '../requests/ollama.ts';
import { chatParameters, completionParameters, type Parameter, type Parameters, responsesParameters } from '../requests/parameters.ts';
import { rerankParameters, scoreParameters } from '../requests/rerank.ts';
import { detokenizeParameters, templateParameters, tokenizeParameters } from '../requests/tokenize.ts';
import {
  BATCH,
  CHAT,
  COMPLETION,
  COMPONENTS,
  CONVERSATION,
  EMBEDDINGS,
  FILE,
  MESSAGES,
  maybe,
  OLLAMA,
  RERANK,
  RESPONSES,
  SCORE,
  type Schema,
  TOKENIZE,
} from './schemas.ts';

export interface Body {
  parameters: Parameters;
  schemas: Readonly<Record<string, Schema>>;
  required?: readonly string[];
  form?: true;
}

/** Bodies by their path; all are posted. */
export const BODIES: Readonly<Record<string, Body>> = {
  '/v1/chat/completions': { parameters: chatParameters, schemas: CHAT, required: ['messages'] },
  '/v1/completions': { parameters: completionParameters, schemas: COMPLETION, required: ['prompt'] },
  '/v1/responses': { parameters: responsesParameters, schemas: RESPONSES, required: ['input'] },
  '/v1/responses/input_tokens': { parameters: inputTokensParameters, schemas: RESPONSES },
  '/v1/responses/compact': { parameters: compactParameters, schemas: RESPONSES },
  '/v1/conversations': { parameters: conversationParameters, schemas: CONVERSATION },
  '/v1/conversations/{id}': { parameters: conversationUpdateParameters, schemas: CONVERSATION },
  '/v1/conversations/{id}/items': { parameters: conversationItemsParameters, schemas: CONVERSATION, required: ['items'] },
  '/v1/messages': { parameters: messagesParameters, schemas: MESSAGES, required: ['messages', 'max_tokens'] },
  '/v1/messages/count_tokens': { parameters: messagesParameters, schemas: MESSAGES, required: ['messages'] },
  '/api/chat': { parameters: ollamaChatParameters, schemas: OLLAMA },
  '/api/generate': { parameters: ollamaGenerateParameters, schemas: OLLAMA },
  '/v1/embeddings': { parameters: embeddingsParameters, schemas: EMBEDDINGS, required: ['input'] },
  '/v1/rerank': { parameters: rerankParameters, schemas: RERANK, required: ['query', 'documents'] },
  '/v1/score': { parameters: scoreParameters, schemas: SCORE, required: ['text_1', 'text_2'] },
  '/v1/files': { parameters: fileParameters, schemas: FILE, required: ['file', 'purpose'], form: true },
  '/v1/batches': { parameters: batchParameters, schemas: BATCH, required: ['input_file_id', 'endpoint', 'completion_window'] },
  '/v1/tokenize': { parameters: tokenizeParameters, schemas: TOKENIZE },
  '/v1/apply-template': { parameters: templateParameters, schemas: TOKENIZE, required: ['messages'] },
  '/v1/detokenize': { parameters: detokenizeParameters, schemas: TOKENIZE, required: ['tokens'] },
};

/** What each route does, `METHOD path`. Those of `BODIES` are here too. */
const ROUTES: Readonly<Record<string, string>> = {
  'GET /health': 'Whether the server answers at all.',
  'GET /ready': 'Whether a replica has its model loaded.',
  'GET /metrics': 'Metrics in the form of Prometheus.',
  'GET /openapi.json': 'This document.',
  'GET /v1/models': 'The models that are served.',
  'GET /v1/models/{id}': 'One of them.',
  'POST /v1/chat/completions': 'A chat’s next message.',
  'POST /v1/completions': 'How a text goes on.',
  'POST /v1/responses': 'A response, kept unless `store` is false.',
  'GET /v1/responses': 'Opens a WebSocket (docs/clients.md).',
  'POST /v1/responses/input_tokens': 'How many tokens an input has.',
  'POST /v1/responses/compact': 'A conversation made short.',
  'GET /v1/responses/{id}': 'A kept response, with `stream=true` its events after `starting_after`.',
  'DELETE /v1/responses/{id}': 'Erases it.',
  'POST /v1/responses/{id}/cancel': 'Ends one that runs.',
  'GET /v1/responses/{id}/input_items': 'What it was asked, with all before it.',
  'POST /v1/conversations': 'Begins a conversation.',
  'GET /v1/conversations/{id}': 'A conversation.',
  'POST /v1/conversations/{id}': 'Changes its metadata.',
  'DELETE /v1/conversations/{id}': 'Ends it; its responses stay.',
  'POST /v1/conversations/{id}/items': 'Adds items to it.',
  'GET /v1/conversations/{id}/items': 'Its items.',
  'GET /v1/conversations/{id}/items/{item}': 'One of them.',
  'DELETE /v1/conversations/{id}/items/{item}': 'Takes one out.',
  'POST /v1/messages': 'Anthropic’s form of a chat.',
  'POST /v1/messages/count_tokens': 'How many tokens its prompt has.',
  'POST /api/chat': 'Ollama’s form of a chat.',
  'POST /api/generate': 'Ollama’s form of an answer, or with `raw` of how a text goes on.',
  'GET /api/tags': 'The models that are served, as Ollama lists them.',
  'GET /api/ps': 'Those that are loaded.',
  'POST /api/show': 'What is known of one.',
  'GET /api/version': 'The server’s version.',
  'POST /v1/embeddings': 'Vectors of texts.',
  'POST /v1/rerank': 'Documents in the order of how well they answer a query.',
  'POST /v1/score': 'How well two texts belong together.',
  'POST /v1/files': 'Keeps a file for a batch.',
  'GET /v1/files': 'The files that are kept.',
  'GET /v1/files/{id}': 'What is known of one.',
  'DELETE /v1/files/{id}': 'Erases it.',
  'GET /v1/files/{id}/content': 'What it holds.',
  'POST /v1/batches': 'Runs a file’s requests at the lowest priority.',
  'GET /v1/batches': 'The batches, the newest first.',
  'GET /v1/batches/{id}': 'How far one is.',
  'POST /v1/batches/{id}/cancel': 'Ends it.',
  'POST /v1/tokenize': 'The tokens of a text or a chat.',
  'POST /v1/apply-template': 'The text of a chat’s prompt.',
  'POST /v1/detokenize': 'The text of tokens.',
  'POST /v1/turnstone/pages': 'A chat’s KV pages, to go on with it elsewhere.',
};

const said = (p: Parameter): string | undefined => {
  if (p === 'read') return undefined;
  return p.use === 'ignored' ? `Accepted, changes nothing: ${p.why}.` : `Refused: ${p.why}`;
};

/** A body's schema: what is read as it is read, what is ignored as anything, what is refused as the values that ask for nothing. */
export function bodySchema({ parameters, schemas, required = [] }: Body): Schema {
  const properties = Object.fromEntries(
    Object.entries(parameters).map(([name, p]) => {
      const description = said(p);
      if (p === 'read') return [name, required.includes(name) ? schemas[name] : maybe(schemas[name])];
      if (p.use === 'ignored') return [name, { description }];
      return [name, { enum: [null, ...(p.neutral ?? [])], description }];
    }),
  );
  return { type: 'object', properties, required, additionalProperties: false };
}

const error = { description: 'What is wrong.', content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } } };

function operation(route: string, summary: string): Schema {
  const [method, path] = route.split(' ');
  const body = method === 'POST' ? BODIES[path] : undefined;
  const names = [...path.matchAll(/\{(\w+)\}/g)].map((m) => m[1]);
  const open = /^\/(health|ready|openapi\.json)$/.test(path);
  return {
    summary,
    operationId: `${method.toLowerCase()}${path.replace(/\.json$/, '').replace(/[^a-z]+([a-z]?)/gi, (_, c: string) => c.toUpperCase())}`,
    ...(names.length > 0 && { parameters: names.map((name) => ({ name, in: 'path', required: true, schema: { type: 'string' } })) }),
    ...(body && {
      requestBody: { required: true, content: { [body.form ? 'multipart/form-data' : 'application/json']: { schema: bodySchema(body) } } },
    }),
    ...(open && { security: [] }),
    responses: { 200: { description: 'The answer.' }, default: error },
  };
}

/** OpenAPI 3.1. */
export function openApi(): Schema {
  const paths: Record<string, Record<string, Schema>> = {};
  for (const [route, summary] of Object.entries(ROUTES)) {
    const [method, path] = route.split(' ');
    paths[path] = { ...paths[path], [method.toLowerCase()]: operation(route, summary) };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Turnstone',
      version: '1',
      description:
        'OpenAI’s, Anthropic’s and Ollama’s APIs over models in Workers isolates, with the parameters of other servers. Names that are not here are refused.',
    },
    security: [{ key: [] }],
    paths,
    components: { securitySchemes: { key: { type: 'http', scheme: 'bearer' } }, schemas: COMPONENTS },
  };
}
