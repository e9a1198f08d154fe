/** POST /v1/responses: body → ResponsesRequest. */

import { badRequest, unsupportedValue } from '../errors.ts';
import { array, bodyObject, boolean, type Fields, identifier, integer, object, oneOf, optional, string } from './fields.ts';
import { readForm } from './form.ts';
import { LIMITS, readGeneration } from './generation.ts';
import { readInput } from './items.ts';
import { checkParameters, responsesParameters } from './parameters.ts';
import { readThinking, verbosityArgs } from './template-args.ts';
import { checkChoice, distinct, MAX_TOOLS, readFunction, readJsonSchema } from './tools.ts';
import type { ResponseFormat, ResponsesRequest, Tool, ToolChoice } from './types.ts';

/** Throws an `ApiError` (400) that names the first parameter at fault. `messages` stays empty: the history is not known here. */
export function parseResponses(value: unknown): ResponsesRequest {
  const body = bodyObject(value);
  checkParameters(body, responsesParameters);
  readStreamOptions(body);
  const generation = readGeneration({ ...body, stream_options: undefined });
  generation.sampling.logprobs = readLogprobs(body);
  generation.maxTokensParam = 'max_output_tokens';
  generation.maxTokens = optional(body.max_output_tokens, (v) => integer(v, 'max_output_tokens', 1, LIMITS.maxTokens));
  const tools = readTools(body.tools);
  const flag = (name: string) => optional(body[name], (v) => boolean(v, name));
  const text = optional(body.text, (v) => object(v, 'text'));
  const thinking = readThinking({ ...body, reasoning_effort: undefined, enable_thinking: undefined, verbosity: undefined });
  const request = {
    kind: 'response' as const,
    ...generation,
    includeUsage: true,
    messages: [],
    input: readInput(body.input),
    instructions: optional(body.instructions, (v) => string(v, 'instructions')),
    conversation: readConversation(body.conversation),
    truncate: optional(body.truncation, (v) => oneOf(v, 'truncation', ['auto', 'disabled'])) === 'auto' ? true : undefined,
    previousResponseId: optional(body.previous_response_id, (v) => string(v, 'previous_response_id', 1, 256)),
    store: flag('store'),
    background: flag('background') ?? false,
    tools,
    toolChoice: readToolChoice(body.tool_choice, tools),
    parallelToolCalls: flag('parallel_tool_calls') ?? true,
    responseFormat: readForm(body, readFormat(body.text)),
    ...thinking,
    templateArgs: { ...verbosityArgs(text?.verbosity, 'text.verbosity'), ...thinking.templateArgs },
  };
  if (request.background && request.store === false)
    throw badRequest("'background' needs 'store': nobody else keeps the answer.", 'background');
  if (request.conversation !== undefined && request.previousResponseId !== undefined)
    throw badRequest(
      "'conversation' and 'previous_response_id' both say what the response goes on from; send one of them.",
      'conversation',
    );
  if (request.conversation !== undefined && request.store === false)
    throw badRequest("'conversation' needs 'store': the response becomes a part of it.", 'conversation');
  return { ...request, echo: echoOf(body, request) };
}

const readConversation = (v: unknown): string | undefined =>
  optional(v, (c) => string(typeof c === 'string' ? c : object(c, 'conversation').id, 'conversation', 1, 256));

/** What every state of the response repeats of its request; what that left to the model is told as the API's default. */
function echoOf(body: Fields, r: Omit<ResponsesRequest, 'echo'>): ResponsesRequest['echo'] {
  const { param, ...form } = { param: undefined, ...r.responseFormat };
  const format = param !== undefined ? { type: 'text' } : form.type === 'json_schema' ? { description: undefined, ...form } : form;
  return {
    background: r.background,
    instructions: r.instructions ?? null,
    max_output_tokens: r.maxTokens ?? null,
    max_tool_calls: null,
    metadata: readMetadata(body.metadata),
    parallel_tool_calls: r.parallelToolCalls,
    presence_penalty: r.sampling.presence ?? 0,
    frequency_penalty: r.sampling.frequency ?? 0,
    previous_response_id: r.previousResponseId ?? null,
    prompt_cache_key: r.promptCacheKey ?? null,
    safety_identifier: null,
    service_tier: 'default',
    reasoning: { effort: null, summary: null, ...optional(body.reasoning, (v) => object(v, 'reasoning')) },
    store: r.store ?? true,
    temperature: r.sampling.temperature ?? 1,
    text: { format, ...(r.templateArgs.verbosity !== undefined && { verbosity: r.templateArgs.verbosity }) },
    tool_choice: body.tool_choice ?? 'auto',
    tools: r.tools.map((t) => ({ type: 'function', ...t, description: t.description ?? null })),
    top_logprobs: r.sampling.logprobs ?? 0,
    top_p: r.sampling.topP ?? 1,
    truncation: r.truncate ? 'auto' : 'disabled',
    ...(r.conversation !== undefined && { conversation: { id: r.conversation } }),
  };
}

export function readMetadata(v: unknown): Record<string, string> {
  const entries = Object.entries(optional(v, (o) => object(o, 'metadata')) ?? {});
  if (entries.length > 16) throw badRequest(`Invalid 'metadata': at most 16 entries, got ${entries.length}.`, 'metadata');
  for (const [key] of entries) string(key, 'metadata', 1, 64);
  return Object.fromEntries(entries.map(([key, value]) => [key, string(value, 'metadata', 0, 512)]));
}

function readTools(v: unknown): Tool[] {
  const list = optional(v, (a) => array(a, 'tools', 0, MAX_TOOLS)) ?? [];
  return distinct(
    list.map((item, i) => {
      const tool = object(item, `tools[${i}]`);
      if (string(tool.type, `tools[${i}].type`, 1, 64) !== 'function') {
        throw unsupportedValue(`tools[${i}].type`, "Only tools of type 'function' are supported.");
      }
      return readFunction(tool, `tools[${i}]`);
    }),
  );
}

function readToolChoice(v: unknown, tools: readonly Tool[]): ToolChoice {
  if (v === undefined || v === null) return { mode: tools.length ? 'auto' : 'none' };
  if (typeof v === 'string') return checkChoice({ mode: oneOf(v, 'tool_choice', ['none', 'auto', 'required']) }, tools);
  const choice = object(v, 'tool_choice');
  if (oneOf(choice.type, 'tool_choice.type', ['function', 'allowed_tools']) === 'function') {
    return checkChoice({ mode: 'required', names: [identifier(choice.name, 'tool_choice.name')] }, tools);
  }
  const names = array(choice.tools, 'tool_choice.tools', 1, MAX_TOOLS).map((item, i) =>
    identifier(object(item, `tool_choice.tools[${i}]`).name, `tool_choice.tools[${i}].name`),
  );
  return checkChoice({ mode: oneOf(choice.mode, 'tool_choice.mode', ['auto', 'required']), names }, tools);
}

function readFormat(v: unknown): ResponseFormat {
  const text = optional(v, (o) => object(o, 'text'));
  const format = optional(text?.format, (o) => object(o, 'text.format'));
  if (!format) return { type: 'text' };
  const type = oneOf(format.type, 'text.format.type', ['text', 'json_object', 'json_schema']);
  return type === 'json_schema' ? readJsonSchema(format, 'text.format') : { type };
}

/** Obfuscation, the only option, pads events against traffic analysis; none is sent. */
function readStreamOptions(body: Fields): void {
  const options = optional(body.stream_options, (v) => object(v, 'stream_options'));
  for (const key of Object.keys(options ?? {})) {
    if (key !== 'include_obfuscation') throw badRequest("Unknown parameter in 'stream_options'.", 'stream_options', 'unknown_parameter');
  }
}

/** How many best tokens to tell of beside each one's log-probability; undefined: none is asked for. All else that may be included belongs to tools that this server does not run, and so is absent. */
function readLogprobs(body: Fields): number | undefined {
  const included = (optional(body.include, (v) => array(v, 'include', 0, 16)) ?? []).map((item, i) => string(item, `include[${i}]`, 1, 64));
  const top = optional(body.top_logprobs, (v) => integer(v, 'top_logprobs', 0, LIMITS.topLogprobs));
  return included.includes('message.output_text.logprobs') || top ? (top ?? 0) : undefined;
}
