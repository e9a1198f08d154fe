/** Calls as each family of models writes them: for chat templates that print none. */

import { marked as tag, unmark } from './marks.ts';
import { parsed } from './scan.ts';

interface Call {
  name: string;
  /** JSON text. */
  arguments: string;
}

const object = (c: Call, key: string): string => `{"name": ${JSON.stringify(c.name)}, "${key}": ${c.arguments}}`;
const objects = (calls: readonly Call[], key: string, between: string): string => calls.map((c) => object(c, key)).join(between);

function entries(c: Call): [string, unknown][] {
  const value = parsed(c.arguments);
  return typeof value === 'object' && value !== null ? Object.entries(value) : [];
}

/** A JSON value in Python's words. */
function literal(v: unknown): string {
  if (typeof v === 'boolean') return v ? 'True' : 'False';
  if (v === null) return 'None';
  if (Array.isArray(v)) return `[${v.map(literal).join(', ')}]`;
  if (typeof v === 'object')
    return `{${Object.entries(v)
      .map(([k, x]) => `${JSON.stringify(k)}: ${literal(x)}`)
      .join(', ')}}`;
  return JSON.stringify(v);
}

/** A JSON value in FunctionGemma's. */
function escaped(v: unknown): string {
  if (typeof v === 'string') return tag('<escape>') + unmark(v) + tag('<escape>');
  if (Array.isArray(v)) return `[${v.map(escaped).join(',')}]`;
  if (typeof v === 'object' && v !== null)
    return `{${Object.entries(v)
      .map(([k, x]) => `${k}:${escaped(x)}`)
      .join(',')}}`;
  return JSON.stringify(v);
}

const raw = (v: unknown): string => (typeof v === 'string' ? unmark(v) : JSON.stringify(v));

const hermes = (body: string): string => `${tag('<tool_call>')}\n${body}\n${tag('</tool_call>')}`;

const WRITERS: Record<string, (calls: readonly Call[]) => string> = {
  hermes: (calls) => calls.map((c) => hermes(object(c, 'arguments'))).join('\n'),
  llama: (calls) => objects(calls, 'parameters', '; '),
  mistral: (calls) => `${tag('[TOOL_CALLS]')} [${objects(calls, 'arguments', ', ')}]`,
  'mistral-args': (calls) => calls.map((c) => tag('[TOOL_CALLS]') + c.name + tag('[ARGS]') + c.arguments).join(''),
  granite: (calls) => `${tag('<|tool_call|>')}[${objects(calls, 'arguments', ', ')}]`,
  json: (calls) => objects(calls, 'arguments', '\n'),
  python: (calls) => {
    const one = (c: Call) =>
      `${c.name}(${entries(c)
        .map(([k, v]) => `${k}=${literal(v)}`)
        .join(', ')})`;
    return `${tag('<|tool_call_start|>')}[${calls.map(one).join(', ')}]${tag('<|tool_call_end|>')}`;
  },
  gemma: (calls) => {
    const one = (c: Call) =>
      `call:${c.name}{${entries(c)
        .map(([k, v]) => `${k}:${escaped(v)}`)
        .join(',')}}`;
    return calls.map((c) => tag('<start_function_call>') + one(c) + tag('<end_function_call>')).join('');
  },
  xml: (calls) => {
    const parameters = (c: Call) => entries(c).map(([k, v]) => `<parameter=${k}>\n${raw(v)}\n</parameter>\n`);
    return calls.map((c) => hermes(`<function=${c.name}>\n${parameters(c).join('')}</function>`)).join('\n');
  },
};

/** The text of these calls, its tags marked. */
export const writeCalls = (dialect: string, calls: readonly Call[]): string => (WRITERS[dialect] ?? WRITERS.hermes)(calls);
