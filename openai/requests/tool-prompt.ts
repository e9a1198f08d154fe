/** Tools and their calls as text, for chat templates that know neither; and ids as Mistral's templates want them. */

import { writeCalls } from '../dialects/write.ts';
import { templateTools } from './messages.ts';
import type { ChatMessage, Tool } from './types.ts';

const INTRODUCTION = 'You may call functions to answer. These are given, as JSON, one a line:';
const FORM = '<tool_call>\n{"name": <its name>, "arguments": <a JSON object>}\n</tool_call>';

/** How a call is to be written, by an example. */
const formOf = (dialect: string): string =>
  `To call one, answer only with ${dialect === 'hermes' ? FORM : writeCalls(dialect, [{ name: 'NAME', arguments: '{"PARAMETER": "VALUE"}' }])}`;

/** Past calls and their results written out as text, in the model's dialect. */
export function writeOut(messages: readonly ChatMessage[], dialect: string): ChatMessage[] {
  const out: ChatMessage[] = [];
  for (const m of messages) {
    const last = out.at(-1);
    if (m.role === 'assistant') {
      const calls = m.toolCalls?.length ? [writeCalls(dialect, m.toolCalls)] : [];
      out.push({ role: 'assistant', content: [...(m.content ? [m.content] : []), ...calls].join('\n'), name: m.name });
    } else if (m.role === 'tool') {
      const content = `<tool_response>\n${m.content}\n</tool_response>`;
      if (last?.role === 'user') last.content += `\n${content}`;
      else out.push({ role: 'user', content });
    } else out.push({ ...m });
  }
  return out;
}

/** The conversation with the tools described in a turn of `role`, and past calls and their results written out. */
export function describeTools(
  messages: readonly ChatMessage[],
  tools: readonly Tool[],
  role: 'system' | 'user',
  dialect = 'hermes',
): ChatMessage[] {
  const listed = templateTools(tools).map((t) => JSON.stringify(t.function));
  const description = [INTRODUCTION, ...listed, formOf(dialect)].join('\n');
  let told = false;
  const out = writeOut(messages, dialect).map((m) => {
    if (told || (m.role !== role && !(role === 'system' && m.role === 'developer'))) return m;
    told = true;
    return { ...m, content: role === 'system' ? `${m.content}\n\n${description}` : `${description}\n\n${m.content}` };
  });
  return told ? out : [{ role, content: description }, ...out];
}

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';

/** Ids of calls as nine letters and digits, which Mistral's templates insist on; the same for the same id. */
export function shortIds(messages: readonly ChatMessage[]): ChatMessage[] {
  return messages.map((m) => {
    if (m.role === 'tool') return { ...m, toolCallId: shortId(m.toolCallId) };
    if (m.role === 'assistant' && m.toolCalls) return { ...m, toolCalls: m.toolCalls.map((c) => ({ ...c, id: shortId(c.id) })) };
    return m;
  });
}

/** FNV-1a over UTF-16 units, 64 bits; an id that is short already stays. */
function shortId(id: string): string {
  if (/^[a-zA-Z0-9]{9}$/.test(id)) return id;
  let hash = 0xcbf29ce484222325n;
  for (let i = 0; i < id.length; i++) hash = BigInt.asUintN(64, (hash ^ BigInt(id.charCodeAt(i))) * 0x100000001b3n);
  let short = '';
  for (let i = 0; i < 9; i++, hash /= 62n) short += LETTERS[Number(hash % 62n)];
  return short;
}
