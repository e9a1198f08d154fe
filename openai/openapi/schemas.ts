/** What each parameter may be, as JSON Schema, from the limits that the readers hold it to. `tests/openai/openapi.test.ts` tries both against each other. */

import { BATCH_LIMITS, BATCH_URLS } from '../requests/batches.ts';
import { EMBEDDING_LIMITS } from '../requests/embeddings.ts';
import { HINTS } from '../requests/form.ts';
import { LIMITS } from '../requests/generation.ts';
import { ollamaOptions } from '../requests/ollama.ts';

export type Schema = { readonly [key: string]: unknown };

const text = (minLength = 0, more: Schema = {}): Schema => ({ type: 'string', ...(minLength > 0 && { minLength }), ...more });
const int = (minimum: number, maximum: number): Schema => ({ type: 'integer', minimum, maximum });
const num = (minimum: number, maximum: number): Schema => ({ type: 'number', minimum, maximum });
const list = (items: Schema, minItems = 0, maxItems?: number): Schema => ({
  ...{ type: 'array', items, ...(minItems > 0 && { minItems }), ...(maxItems !== undefined && { maxItems }) },
});
const any = (...anyOf: Schema[]): Schema => ({ anyOf });
const one = (...values: readonly unknown[]): Schema => ({ enum: values });
const flag: Schema = { type: 'boolean' };
/** null and absent are the same. */
const maybe = (schema: Schema): Schema => any(schema, { type: 'null' });
const object = (properties: Record<string, Schema> = {}, required: readonly string[] = [], more: Schema = {}): Schema => ({
  ...{ type: 'object', ...(Object.keys(properties).length > 0 && { properties }), ...(required.length > 0 && { required }), ...more },
});

const name: Schema = { type: 'string', minLength: 1, maxLength: 64, pattern: '^[a-zA-Z0-9_-]+$' };
const ids = list(int(0, LIMITS.tokenId));
const schema: Schema = any(object(), flag);
const part = object({ type: one('text', 'input_text', 'output_text', 'refusal'), text: text(), refusal: text() }, ['type']);
const content = any(text(), list(part, 1));
const metadata = object({}, [], { maxProperties: 16, additionalProperties: { type: 'string', maxLength: 512 } });
const functionFields = { name, description: maybe(text()), parameters: maybe(schema), strict: maybe(flag) };
const functionCall = object(
  { id: text(1), type: maybe(one('function')), function: object({ name, arguments: text() }, ['name', 'arguments']) },
  ['id', 'function'],
);

/** Named parts of the document. */
export const COMPONENTS: Readonly<Record<string, Schema>> = {
  ChatMessage: {
    oneOf: [
      object({ role: one('system', 'developer', 'user'), content, name: maybe(text(1)) }, ['role', 'content']),
      object(
        {
          ...{ role: one('assistant'), content: maybe(content), refusal: maybe(text()), name: maybe(text(1)), prefix: maybe(flag) },
          ...{ reasoning_content: maybe(text()), tool_calls: maybe(list(functionCall, 0, 128)) },
        },
        ['role'],
      ),
      object({ role: one('tool'), content: any(text(), list(part)), tool_call_id: text(1) }, ['role', 'content', 'tool_call_id']),
    ],
  },
  ChatTool: object({ type: one('function'), function: object(functionFields, ['name']) }, ['type', 'function']),
  ResponseTool: object({ type: one('function'), ...functionFields }, ['type', 'name']),
  InputItem: {
    anyOf: [
      object({ type: maybe(one('message')), role: one('system', 'developer', 'user', 'assistant'), content }, ['role', 'content']),
      object({ type: one('function_call'), call_id: text(1), name, arguments: text() }, ['type', 'call_id', 'name', 'arguments']),
      object({ type: one('function_call_output'), call_id: text(1), output: any(text(), list(part)) }, ['type', 'call_id', 'output']),
      object({ type: one('reasoning') }, ['type']),
      object({ type: one('item_reference'), id: text(1) }, ['type', 'id']),
      object({ id: text(1) }, ['id'], { not: { anyOf: [{ required: ['type'] }, { required: ['role'] }, { required: ['content'] }] } }),
      object({ type: one('compaction'), encrypted_content: text(1) }, ['type', 'encrypted_content']),
    ],
  },
  Message: object({ role: one('user', 'assistant'), content: any(text(), list(object({ type: text(1) }, ['type']))) }, ['role', 'content']),
  Error: object(
    { error: object({ message: text(), type: text(), param: maybe(text()), code: maybe(text()) }, ['message', 'type', 'param', 'code']) },
    ['error'],
  ),
};

const ref = (component: keyof typeof COMPONENTS): Schema => ({ $ref: `#/components/schemas/${component}` });

const jsonSchema = object({ name, description: maybe(text()), schema: maybe(schema), strict: maybe(flag) }, ['name']);
const jsonText: Schema = any(text(1), schema);
const format = (nested: boolean): Schema => ({
  anyOf: [
    object({ type: one('text') }, ['type']),
    object({ type: one('json_object'), ...(nested && { schema: maybe(schema) }) }, ['type']),
    nested
      ? object({ type: one('json_schema'), json_schema: jsonSchema }, ['type', 'json_schema'])
      : object({ type: one('json_schema'), ...(jsonSchema.properties as object) }, ['type', 'name']),
    ...(nested ? [object({ type: one('json_schema'), schema }, ['type', 'schema'])] : []),
  ],
});
const choice = (named: Schema, allowed: Schema): Schema => any(one('none', 'auto', 'required'), named, allowed);

const GENERATION: Record<string, Schema> = {
  model: { ...text(1), maxLength: LIMITS.name },
  stream: flag,
  n: int(1, LIMITS.n),
  stop: any(text(1, { maxLength: LIMITS.stopLength }), list(text(1, { maxLength: LIMITS.stopLength }), 0, LIMITS.stop)),
  seed: { type: 'integer', minimum: -(2 ** 63), maximum: 2 ** 63 },
  temperature: num(0, 2),
  top_p: num(0, 1),
  frequency_penalty: num(-2, 2),
  presence_penalty: num(-2, 2),
  logit_bias: object({}, [], {
    maxProperties: LIMITS.logitBias,
    propertyNames: { pattern: '^(0|[1-9][0-9]{0,6})$' },
    additionalProperties: num(-100, 100),
  }),
  logprobs: flag,
  top_logprobs: int(0, LIMITS.topLogprobs),
  prompt_logprobs: int(0, LIMITS.topLogprobs),
  max_tokens: int(1, LIMITS.maxTokens),
  max_completion_tokens: int(1, LIMITS.maxTokens),
  max_output_tokens: int(1, LIMITS.maxTokens),
  stream_options: object({ include_usage: maybe(flag), include_obfuscation: {} }, [], { additionalProperties: false }),
  prompt_cache_key: { ...text(1), maxLength: LIMITS.name },
  top_k: int(-1, LIMITS.tokenId),
  min_p: num(0, 1),
  repetition_penalty: num(0.01, 10),
  min_tokens: int(0, LIMITS.maxTokens),
  ignore_eos: flag,
  stop_token_ids: list(int(0, LIMITS.tokenId), 0, LIMITS.stopTokenIds),
  cache_salt: { ...text(1), maxLength: LIMITS.name },
  keep_alive: any({ type: 'number' }, text(1, { maxLength: 32, pattern: '^-?(\\d+(\\.\\d+)?|(\\d+(\\.\\d+)?(ms|s|m|h))+)$' })),
  priority: int(-1000, 1000),
  explain: flag,
  response_format: format(true),
  ...Object.fromEntries(['guided_regex', 'guided_grammar', 'regex', 'grammar', 'ebnf'].map((n) => [n, text(1)])),
  ...Object.fromEntries(['guided_choice', 'choice'].map((n) => [n, list(text(), 1, 1000)])),
  ...Object.fromEntries(['guided_json', 'json_schema'].map((n) => [n, jsonText])),
  structured_outputs: object(
    {
      ...{ json: jsonText, regex: text(1), choice: list(text(), 1, 1000), grammar: text(1), json_object: flag },
      ...Object.fromEntries([...HINTS].map((hint) => [hint, {}])),
    },
    [],
    { additionalProperties: false },
  ),
  chat_template: text(1),
  chat_template_kwargs: object({}, [], {
    maxProperties: 16,
    propertyNames: { pattern: '^[a-z_][a-z0-9_]{0,63}$' },
    additionalProperties: any(text(), { type: 'number' }, flag),
  }),
  add_generation_prompt: flag,
  continue_final_message: flag,
  parallel_tool_calls: flag,
  reasoning_effort: one('none', 'minimal', 'low', 'medium', 'high', 'xhigh'),
  enable_thinking: flag,
  verbosity: one('low', 'medium', 'high'),
  thinking_budget: int(0, LIMITS.maxTokens),
  metadata,
};

const reasoning = object({ effort: maybe(GENERATION.reasoning_effort), max_tokens: maybe(GENERATION.thinking_budget) });

export const CHAT: Record<string, Schema> = {
  ...GENERATION,
  ...{ max_tokens: int(0, LIMITS.maxTokens), max_completion_tokens: int(0, LIMITS.maxTokens) }, // 0 with prompt_logprobs
  messages: list(ref('ChatMessage'), 1, 2048),
  reasoning,
  tools: list(ref('ChatTool'), 0, 128),
  tool_choice: choice(
    object({ type: one('function'), function: object({ name }, ['name']) }, ['type', 'function']),
    object(
      {
        type: one('allowed_tools'),
        allowed_tools: object({ mode: one('auto', 'required'), tools: list(object(), 1, 128) }, ['mode', 'tools']),
      },
      [...['type', 'allowed_tools']],
    ),
  ),
};

export const COMPLETION: Record<string, Schema> = {
  ...GENERATION,
  prompt: any(text(), { type: 'array', items: int(0, LIMITS.tokenId), minItems: 1 }, list(any(text(), ids), 1, 64)),
  logprobs: int(0, LIMITS.topLogprobs),
  max_tokens: int(0, LIMITS.maxTokens), // 0 where the prompt is told of
  echo: flag,
  best_of: int(1, LIMITS.n),
};

export const RESPONSES: Record<string, Schema> = {
  ...GENERATION,
  input: any(text(), list(ref('InputItem'), 0, 2048)),
  instructions: text(),
  previous_response_id: { ...text(1), maxLength: 256 },
  conversation: any({ ...text(1), maxLength: 256 }, object({ id: { ...text(1), maxLength: 256 } }, ['id'])),
  truncation: one('auto', 'disabled'),
  store: flag,
  background: flag,
  text: object({ format: maybe(format(false)), verbosity: maybe(GENERATION.verbosity) }),
  include: list(text(1, { maxLength: 64 }), 0, 16),
  reasoning,
  stream_options: object({ include_obfuscation: {} }, [], { additionalProperties: false }),
  tools: list(ref('ResponseTool'), 0, 128),
  tool_choice: choice(
    object({ type: one('function'), name }, ['type', 'name']),
    object({ type: one('allowed_tools'), mode: one('auto', 'required'), tools: list(object({ name }, ['name']), 1, 128) }, [
      'type',
      'mode',
      'tools',
    ]),
  ),
};

export const CONVERSATION: Record<string, Schema> = { items: list(ref('InputItem'), 0, 20), metadata };

const textBlocks = any(text(), list(object({ type: one('text'), text: text() }, ['type', 'text']), 0, 1024));

export const MESSAGES: Record<string, Schema> = {
  ...GENERATION,
  messages: list(ref('Message'), 1, 2048),
  system: textBlocks,
  stop_sequences: GENERATION.stop,
  tools: list(object({ name, description: maybe(text()), input_schema: maybe(schema), type: maybe(one('custom')) }, ['name']), 0, 128),
  tool_choice: object({ type: one('auto', 'any', 'tool', 'none'), name, disable_parallel_tool_use: maybe(flag) }, ['type']),
  thinking: object({ type: one('enabled', 'disabled', 'adaptive'), budget_tokens: maybe(GENERATION.thinking_budget) }, ['type']),
};

const ollamaCall = object({ function: object({ name, arguments: maybe(object()) }, ['name']) }, ['function']);

export const OLLAMA: Record<string, Schema> = {
  ...{ model: GENERATION.model, stream: flag, keep_alive: GENERATION.keep_alive, logprobs: flag, top_logprobs: GENERATION.top_logprobs },
  ...{ prompt: text(), system: text(), raw: flag, think: any(flag, one('low', 'medium', 'high')), format: any(one('', 'json'), object()) },
  messages: list(
    object(
      {
        role: one('system', 'user', 'assistant', 'tool'),
        ...{ content: maybe(text()), thinking: maybe(text()), tool_name: maybe(text()), tool_call_id: maybe(text()) },
        ...{ images: maybe(list({}, 0, 0)), tool_calls: maybe(list(ollamaCall, 0, 128)) },
      },
      ['role'],
    ),
    0,
    2048,
  ),
  tools: list(ref('ChatTool'), 0, 128),
  options: object(
    {
      ...Object.fromEntries(Object.keys(ollamaOptions).map((option) => [option, {}])),
      ...{ temperature: maybe(num(0, 2)), top_p: maybe(num(0, 1)), top_k: maybe(GENERATION.top_k), min_p: maybe(num(0, 1)) },
      ...{ seed: maybe(GENERATION.seed), stop: maybe(GENERATION.stop), num_predict: maybe(int(-2, LIMITS.maxTokens)) },
      ...{ repeat_penalty: maybe(num(0.01, 10)), presence_penalty: maybe(num(-2, 2)), frequency_penalty: maybe(num(-2, 2)) },
      num_ctx: maybe(int(1, LIMITS.maxTokens)),
    },
    [],
    { additionalProperties: false },
  ),
};

export const EMBEDDINGS: Record<string, Schema> = {
  model: GENERATION.model,
  input: any(
    text(1, { maxLength: EMBEDDING_LIMITS.text }),
    list(int(0, LIMITS.tokenId), 1, EMBEDDING_LIMITS.ids),
    list(text(1, { maxLength: EMBEDDING_LIMITS.text }), 1, EMBEDDING_LIMITS.inputs),
    list(list(int(0, LIMITS.tokenId), 1, EMBEDDING_LIMITS.ids), 1, EMBEDDING_LIMITS.inputs),
  ),
  encoding_format: one('float', 'base64'),
  dimensions: int(1, EMBEDDING_LIMITS.dimensions),
};

const scored = text(1, { maxLength: EMBEDDING_LIMITS.text });

export const RERANK: Record<string, Schema> = {
  model: GENERATION.model,
  query: scored,
  documents: list(any(scored, object({ text: scored }, ['text'])), 1, EMBEDDING_LIMITS.inputs),
  top_n: int(1, EMBEDDING_LIMITS.inputs),
  return_documents: flag,
};

export const SCORE: Record<string, Schema> = {
  model: GENERATION.model,
  text_1: any(scored, list(scored, 1, EMBEDDING_LIMITS.inputs)),
  text_2: any(scored, list(scored, 1, EMBEDDING_LIMITS.inputs)),
};

export const TOKENIZE: Record<string, Schema> = { ...CHAT, prompt: text(), add_special_tokens: flag, tokens: ids };

export const BATCH: Record<string, Schema> = {
  input_file_id: { ...text(1), maxLength: 128 },
  endpoint: one(...BATCH_URLS),
  completion_window: one('24h'),
  metadata,
  output_expires_after: object({ anchor: one('created_at'), seconds: int(3600, 30 * 24 * 3600) }, ['anchor', 'seconds']),
};

export const FILE: Record<string, Schema> = {
  file: { type: 'string', format: 'binary', description: `At most ${BATCH_LIMITS.fileBytes} bytes.` },
  purpose: one('batch'),
  'expires_after[anchor]': one('created_at'),
  'expires_after[seconds]': text(1),
};

export { maybe };
