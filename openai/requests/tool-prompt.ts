/** Tools and their calls as text, for chat templates that know neither; and ids as Mistral's templates want them. */

import { templateTools } from './messages.ts';
import type { ChatMessage, Tool } from './types.ts';

const INTRODUCTION = 'You may call functions to answer. These are given, as JSON, one a line:';
const FORM = 'To call one, answer only with <tool_call>\n{"name": <its name>, "arguments": <a JSON object>}\n</tool_call>';

/** The conversation with the tools described in a turn of `role`, and past calls and their results written out as Hermes models do. */
export function describeTools(messages: readonly ChatMessage[], tools: readonly Tool[], role: 'system' | 'user'): ChatMessage[] {
  const listed = templateTools(tools).map((t) => JSON.stringify(t.function));
  const description = [INTRODUCTION, ...listed, FORM].join('\n');
  const out: ChatMessage[] = [];
  let told = false;
  for (const m of messages) {
    const last = out.at(-1);
    if (m.role === 'assistant') {
      const calls = (m.toolCalls ?? []).map(
        (c) => `<tool_call>\n{"name": ${JSON.stringify(c.name)}, "arguments": ${c.arguments}}\n</tool_call>`,
      );
      out.push({ role: 'assistant', content: [...(m.content ? [m.content] : []), ...calls].join('\n'), name: m.name });
    } else if (m.role === 'tool') {
      const content = `<tool_response>\n${m.content}\n</tool_response>`;
      if (last?.role === 'user') last.content += `\n${content}`;
      else out.push({ role: 'user', content });
    } else if (!told && (m.role === role || (role === 'system' && m.role === 'developer'))) {
      told = true;
      out.push({ ...m, content: role === 'system' ? `${m.content}\n\n${description}` : `${description}\n\n${m.content}` });
    } else out.push({ ...m });
  }
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
