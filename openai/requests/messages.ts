/** The conversation: roles, text parts, tool calls. And the form chat templates want it in. */

import { badRequest, clip, unsupportedValue } from '../errors.ts';
import { array, type Fields, identifier, object, oneOf, optional, string } from './fields.ts';
import type { ChatMessage, Tool, ToolCall } from './types.ts';

export const MAX_MESSAGES = 2048;
const MAX_PARTS = 1024;
const MAX_CALLS = 128;
const ROLES = ['system', 'developer', 'user', 'assistant', 'tool'] as const;

export function readMessages(v: unknown): ChatMessage[] {
  return array(v, 'messages', 1, MAX_MESSAGES).map((m, i) => readMessage(object(m, `messages[${i}]`), `messages[${i}]`));
}

function readMessage(m: Fields, path: string): ChatMessage {
  if (m.role === 'function') throw unsupportedValue(`${path}.role`, "The role 'function' is superseded by 'tool'.");
  const role = oneOf(m.role, `${path}.role`, ROLES);
  const name = optional(m.name, (n) => string(n, `${path}.name`, 1, 256));
  if (role === 'tool') {
    return {
      role,
      content: readContent(m.content, `${path}.content`, 0),
      toolCallId: string(m.tool_call_id, `${path}.tool_call_id`, 1, 256),
    };
  }
  if (role !== 'assistant') return { role, content: readContent(m.content, `${path}.content`), name };
  for (const field of ['audio', 'function_call']) {
    if (m[field] !== undefined && m[field] !== null) throw unsupportedValue(`${path}.${field}`, 'Only text and tool_calls are supported.');
  }
  const reasoning = optional(m.reasoning_content, (r) => string(r, `${path}.reasoning_content`));
  const toolCalls = optional(m.tool_calls, (calls) => readToolCalls(calls, `${path}.tool_calls`));
  // A refusal is what the assistant said: it takes the content's place when there is none.
  const said = m.content ?? m.refusal;
  if (said === undefined || said === null) {
    if (!toolCalls?.length) throw badRequest(`'${path}' of the assistant needs 'content' or 'tool_calls'.`, `${path}.content`);
    return { role, content: '', name, ...(reasoning && { reasoning }), toolCalls };
  }
  const content = readContent(said, `${path}.content`, 1, '');
  return { role, content, name, ...(reasoning && { reasoning }), toolCalls: toolCalls?.length ? toolCalls : undefined };
}

/** A string, or at least `least` text parts, joined by line breaks; what the assistant said in parts is one text. */
export function readContent(v: unknown, path: string, least = 1, between = '\n'): string {
  if (!Array.isArray(v)) {
    if (typeof v === 'object' && v !== null)
      throw badRequest(`Invalid type for '${path}': expected a string or an array of parts.`, path, 'invalid_type');
    return string(v, path);
  }
  const texts: string[] = [];
  for (const [i, item] of array(v, path, least, MAX_PARTS).entries()) {
    const part = object(item, `${path}[${i}]`);
    const type = string(part.type, `${path}[${i}].type`, 1, 64);
    if (type === 'text' || type === 'input_text' || type === 'output_text') texts.push(string(part.text, `${path}[${i}].text`));
    else if (type === 'refusal') texts.push(string(part.refusal, `${path}[${i}].refusal`));
    else throw unsupportedValue(`${path}[${i}].type`, `Parts of type '${clip(type)}' are not supported; this model reads text.`);
  }
  return texts.join(between);
}

function readToolCalls(v: unknown, path: string): ToolCall[] {
  return array(v, path, 0, MAX_CALLS).map((item, i) => {
    const call = object(item, `${path}[${i}]`);
    if (optional(call.type, (t) => oneOf(t, `${path}[${i}].type`, ['function', 'custom'])) === 'custom') {
      throw unsupportedValue(`${path}[${i}].type`, "Only calls of type 'function' are supported.");
    }
    const f = object(call.function, `${path}[${i}].function`);
    return {
      id: string(call.id, `${path}[${i}].id`, 1, 256),
      name: identifier(f.name, `${path}[${i}].function.name`),
      arguments: readArguments(f.arguments, `${path}[${i}].function.arguments`),
    };
  });
}

/** Arguments of a past call, as JSON text: of a call without arguments some servers say nothing. */
export function readArguments(v: unknown, path: string): string {
  const text = string(v, path);
  return text.trim() === '' ? '{}' : text;
}

/** As chat templates written for `transformers` expect them: snake case, arguments as objects where they parse as such. */
export function templateMessages(messages: readonly ChatMessage[]): Record<string, unknown>[] {
  return messages.map((m) => {
    if (m.role === 'tool') {
      return { role: 'tool', content: m.content, tool_call_id: m.toolCallId, name: callName(messages, m.toolCallId) };
    }
    const role = m.role === 'developer' ? 'system' : m.role;
    const message: Record<string, unknown> = { role, content: m.content };
    if (m.name !== undefined) message.name = m.name;
    if (m.role === 'assistant' && m.reasoning) message.reasoning_content = m.reasoning;
    if (m.role === 'assistant' && m.toolCalls) {
      message.tool_calls = m.toolCalls.map((c) => ({
        id: c.id,
        type: 'function',
        function: { name: c.name, arguments: parsedArguments(c.arguments) },
      }));
    }
    return message;
  });
}

/** Tools as templates print them, in OpenAI's nested form. */
export function templateTools(tools: readonly Tool[]): Record<string, unknown>[] {
  return tools.map(({ name, description, parameters }) => ({
    type: 'function',
    function: description === undefined ? { name, parameters } : { name, description, parameters },
  }));
}

function callName(messages: readonly ChatMessage[], id: string): string | undefined {
  for (const m of messages) {
    const call = m.role === 'assistant' ? m.toolCalls?.find((c) => c.id === id) : undefined;
    if (call) return call.name;
  }
  return undefined;
}

function parsedArguments(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : text;
  } catch {
    return text;
  }
}
