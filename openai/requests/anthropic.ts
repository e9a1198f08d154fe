/** POST /v1/messages, Anthropic's API: its body → ChatRequest. It is read as the chat it means, so that one set of limits holds. */

import { badRequest, clip, unsupportedValue } from '../errors.ts';
import { parseChat } from './chat.ts';
import { array, bodyObject, boolean, type Fields, integer, object, oneOf, optional, string } from './fields.ts';
import { LIMITS } from './generation.ts';
import { checkParameters, type Parameters } from './parameters.ts';
import type { ChatRequest } from './types.ts';

const MAX_BLOCKS = 1024;

const read = (...names: string[]): Parameters => Object.fromEntries(names.map((n) => [n, 'read' as const]));
const ignored = (why: string) => ({ use: 'ignored' as const, why });

export const messagesParameters: Parameters = {
  ...read('model', 'messages', 'max_tokens', 'system', 'stream', 'stop_sequences', 'temperature', 'top_p', 'top_k', 'tools', 'tool_choice'),
  ...read('thinking'),
  metadata: ignored('names the end user for abuse reports; no part of the prompt'),
  service_tier: ignored('there is one tier'),
  cache_control: ignored('every prompt is cached by its pages; hits are reported in usage'),
  context_management: ignored('a conversation that is too long is refused'),
  output_config: ignored('models here have no levels of effort'),
  inference_geo: ignored('the server is where it is'),
  speed: ignored('there is one speed'),
  container: { use: 'refused', why: 'The server runs no code.' },
  mcp_servers: { use: 'refused', why: 'The server calls nothing else.', neutral: [[]] },
};

/** Throws an `ApiError` (400) that names the first parameter at fault. */
export function parseMessages(value: unknown): ChatRequest {
  const body = bodyObject(value);
  checkParameters(body, messagesParameters);
  if (body.max_tokens === undefined || body.max_tokens === null) throw badRequest("'max_tokens' is required.", 'max_tokens');
  return { ...chatOf(body), wire: 'anthropic' };
}

/** POST /v1/messages/count_tokens: the same body, of which nothing is generated. */
export const parseCountTokens = (value: unknown): ChatRequest => {
  const body = bodyObject(value);
  checkParameters(body, messagesParameters);
  return chatOf(body);
};

function chatOf(body: Fields): ChatRequest {
  const system = optional(body.system, (v) => textOf(v, 'system')) ?? '';
  const turns = array(body.messages, 'messages', 1, 2048).flatMap((m, i) => turn(object(m, `messages[${i}]`), `messages[${i}]`));
  const choice = optional(body.tool_choice, (v) => object(v, 'tool_choice'));
  const last = turns.at(-1);
  const thinking = optional(body.thinking, (v) => oneOf(object(v, 'thinking').type, 'thinking.type', ['enabled', 'disabled', 'adaptive']));
  const budget = optional((body.thinking as Fields | undefined)?.budget_tokens, (v) =>
    integer(v, 'thinking.budget_tokens', 0, LIMITS.maxTokens),
  );
  return parseChat({
    model: body.model,
    messages: [...(system === '' ? [] : [{ role: 'system', content: system }]), ...turns],
    max_tokens: body.max_tokens,
    stream: body.stream,
    stop: body.stop_sequences,
    temperature: body.temperature,
    top_p: body.top_p,
    top_k: body.top_k,
    tools: optional(body.tools, (v) => array(v, 'tools', 0, 128).map((t, i) => tool(object(t, `tools[${i}]`), `tools[${i}]`))),
    tool_choice: choice && toolChoice(choice),
    parallel_tool_calls: choice && optional(choice.disable_parallel_tool_use, (v) => !boolean(v, 'tool_choice.disable_parallel_tool_use')),
    enable_thinking: thinking && thinking !== 'disabled',
    thinking_budget: thinking === 'enabled' ? budget : undefined,
    continue_final_message: last?.role === 'assistant' && !last.tool_calls, // there a last turn of the assistant is always that
  });
}

function tool(t: Fields, path: string): Fields {
  if (t.type !== undefined && t.type !== null && t.type !== 'custom') {
    throw unsupportedValue(`${path}.type`, 'Only tools with an input_schema of their own are supported; the server runs none.');
  }
  return { type: 'function', function: { name: t.name, description: t.description, parameters: t.input_schema, strict: t.strict } };
}

function toolChoice(choice: Fields): unknown {
  const type = oneOf(choice.type, 'tool_choice.type', ['auto', 'any', 'tool', 'none']);
  if (type === 'tool') return { type: 'function', function: { name: choice.name } };
  return type === 'any' ? 'required' : type;
}

/** A turn as the chat's: results of tools come as turns of their own, before what the user says. */
function turn(m: Fields, path: string): Fields[] {
  const role = oneOf(m.role, `${path}.role`, ['user', 'assistant']);
  if (typeof m.content === 'string') return [{ role, content: m.content }];
  const results: Fields[] = [];
  const calls: Fields[] = [];
  const texts: string[] = [];
  for (const [i, item] of array(m.content, `${path}.content`, 0, MAX_BLOCKS).entries()) {
    const at = `${path}.content[${i}]`;
    const block = object(item, at);
    const type = string(block.type, `${at}.type`, 1, 64);
    if (type === 'text') texts.push(string(block.text, `${at}.text`));
    else if (type === 'tool_result' && role === 'user') {
      const content = optional(block.content, (v) => textOf(v, `${at}.content`)) ?? '';
      results.push({ role: 'tool', tool_call_id: block.tool_use_id, content: block.is_error === true ? `Error: ${content}` : content });
    } else if (type === 'tool_use' && role === 'assistant') {
      const input = JSON.stringify(object(block.input, `${at}.input`));
      calls.push({ id: block.id, type: 'function', function: { name: block.name, arguments: input } });
    } else if (!(role === 'assistant' && (type === 'thinking' || type === 'redacted_thinking'))) {
      throw unsupportedValue(
        `${at}.type`,
        `Blocks of type '${clip(type)}' are not supported in a turn of the ${role}; this model reads text.`,
      );
    }
  }
  const content = texts.join('\n');
  if (role === 'assistant') return [{ role, content, ...(calls.length > 0 && { tool_calls: calls }) }];
  return content === '' && results.length > 0 ? results : [...results, { role, content }];
}

/** A string, or text blocks, a line each. */
function textOf(v: unknown, path: string): string {
  if (typeof v === 'string') return v;
  const texts = array(v, path, 0, MAX_BLOCKS).map((item, i) => {
    const block = object(item, `${path}[${i}]`);
    if (block.type !== 'text') throw unsupportedValue(`${path}[${i}].type`, 'Only text is supported; this model reads text.');
    return string(block.text, `${path}[${i}].text`);
  });
  return texts.join('\n');
}
