/** `tools`, `tool_choice` and `response_format`, in the nested form of chat completions. */

import { badRequest, unsupportedValue } from '../errors.ts';
import { array, boolean, type Fields, identifier, object, oneOf, optional, string } from './fields.ts';
import type { JsonSchema, ResponseFormat, Tool, ToolChoice } from './types.ts';

export const MAX_TOOLS = 128;
const MAX_SCHEMA = 65_536; // UTF-16 units of its JSON text
const MAX_DESCRIPTION = 16_384;

/** A schema is passed on as it is, bounded in size; whether it can be enforced is for the constraint's compiler to say. */
export function readSchema(v: unknown, path: string): JsonSchema {
  const schema = typeof v === 'boolean' ? v : object(v, path);
  const size = JSON.stringify(schema).length;
  if (size > MAX_SCHEMA) throw badRequest(`Invalid '${path}': the schema's text is ${size} long, at most ${MAX_SCHEMA}.`, path);
  return schema;
}

/** The inner part, which chat completions nest under `function` and the Responses API does not. */
export function readFunction(f: Fields, path: string): Tool {
  return {
    name: identifier(f.name, `${path}.name`),
    description: optional(f.description, (v) => string(v, `${path}.description`, 0, MAX_DESCRIPTION)),
    parameters: optional(f.parameters, (v) => readSchema(v, `${path}.parameters`)) ?? { type: 'object', properties: {} },
    strict: optional(f.strict, (v) => boolean(v, `${path}.strict`)) ?? false,
  };
}

export function readTools(v: unknown): Tool[] {
  const list = optional(v, (a) => array(a, 'tools', 0, MAX_TOOLS)) ?? [];
  const tools = list.map((item, i) => {
    const path = `tools[${i}]`;
    const tool = object(item, path);
    if (tool.type === 'custom') throw unsupportedValue(`${path}.type`, "Only tools of type 'function' are supported.");
    oneOf(tool.type, `${path}.type`, ['function']);
    return readFunction(object(tool.function, `${path}.function`), `${path}.function`);
  });
  return distinct(tools);
}

export function distinct(tools: Tool[]): Tool[] {
  const names = new Set<string>();
  for (const { name } of tools) {
    if (names.has(name)) throw badRequest(`Invalid 'tools': the name '${name}' is given twice.`, 'tools');
    names.add(name);
  }
  return tools;
}

const MODES = ['none', 'auto', 'required'] as const;

export function readToolChoice(v: unknown, tools: readonly Tool[]): ToolChoice {
  if (v === undefined || v === null) return { mode: tools.length ? 'auto' : 'none' };
  if (typeof v === 'string') return checkChoice({ mode: oneOf(v, 'tool_choice', MODES) }, tools);
  const choice = object(v, 'tool_choice');
  if (choice.type === 'custom') throw unsupportedValue('tool_choice.type', "Only tools of type 'function' are supported.");
  if (oneOf(choice.type, 'tool_choice.type', ['function', 'allowed_tools']) === 'function') {
    const f = object(choice.function, 'tool_choice.function');
    return checkChoice({ mode: 'required', names: [identifier(f.name, 'tool_choice.function.name')] }, tools);
  }
  const allowed = object(choice.allowed_tools, 'tool_choice.allowed_tools');
  const names = array(allowed.tools, 'tool_choice.allowed_tools.tools', 1, MAX_TOOLS).map((item, i) => {
    const path = `tool_choice.allowed_tools.tools[${i}]`;
    return identifier(object(object(item, path).function, `${path}.function`).name, `${path}.function.name`);
  });
  return checkChoice({ mode: oneOf(allowed.mode, 'tool_choice.allowed_tools.mode', ['auto', 'required']), names }, tools);
}

/** A choice must name tools that were given. */
export function checkChoice(choice: ToolChoice, tools: readonly Tool[]): ToolChoice {
  if (tools.length === 0 && choice.mode === 'required') {
    throw badRequest("'tool_choice' asks for a call, but no 'tools' are given.", 'tool_choice');
  }
  for (const name of choice.names ?? []) {
    if (!tools.some((t) => t.name === name)) throw badRequest(`'tool_choice' names '${name}', which is not among 'tools'.`, 'tool_choice');
  }
  return tools.length === 0 ? { mode: 'none' } : choice;
}

export function readResponseFormat(v: unknown): ResponseFormat {
  if (v === undefined || v === null) return { type: 'text' };
  const format = object(v, 'response_format');
  const type = oneOf(format.type, 'response_format.type', ['text', 'json_object', 'json_schema']);
  // llama.cpp's and others' short form: the schema beside the type
  const schema = optional(format.schema, (s) => readSchema(s, 'response_format.schema'));
  if (schema !== undefined && type !== 'text' && !format.json_schema) return { type: 'json_schema', name: 'answer', schema, strict: false };
  if (type !== 'json_schema') return { type };
  return readJsonSchema(object(format.json_schema, 'response_format.json_schema'), 'response_format.json_schema');
}

export function readJsonSchema(f: Fields, path: string): ResponseFormat {
  return {
    type: 'json_schema',
    name: identifier(f.name, `${path}.name`),
    description: optional(f.description, (d) => string(d, `${path}.description`, 0, MAX_DESCRIPTION)),
    schema: optional(f.schema, (s) => readSchema(s, `${path}.schema`)) ?? {},
    strict: optional(f.strict, (s) => boolean(s, `${path}.strict`)) ?? false,
  };
}
