/** Conversations as files: JSON with every branch, which comes back as it was, and Markdown to read. */
import { isRecord } from './json.ts';
import { importChat, type Whole } from './records.ts';
import { nameOf } from './state.ts';
import { pathTo, wordsOf } from './turns.ts';

const FORMAT = 'turnstone-chats';

export const toJson = (chats: readonly Whole[]): string => JSON.stringify({ format: FORMAT, version: 1, chats }, null, 1);

/** Throws with what is wrong. */
export function fromJson(text: string): Whole[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error('This file is no JSON.');
  }
  if (!isRecord(value) || value.format !== FORMAT || !Array.isArray(value.chats))
    throw new Error('This file holds no conversations of this page.');
  const chats = value.chats.flatMap((chat) => importChat(chat) ?? []);
  if (!chats.length) throw new Error('This file holds no conversation that can be read.');
  return chats;
}

/** The branch that is shown. */
export function toMarkdown({ chat, turns }: Whole): string {
  const parts = [`# ${nameOf(chat)}`];
  if (chat.system) parts.push(`> ${chat.system.replaceAll('\n', '\n> ')}`);
  for (const turn of pathTo(turns, chat.leaf)) {
    if (turn.role === 'user') parts.push('## You', wordsOf(turn));
    else if (turn.role === 'tool') parts.push(`## Result of ${turn.name}`, turn.text);
    else {
      parts.push('## Answer', turn.text);
      for (const call of turn.calls) parts.push(`Calls \`${call.name}\`:`, `\`\`\`json\n${call.arguments}\n\`\`\``);
    }
  }
  return `${parts.filter((part) => part.trim()).join('\n\n')}\n`;
}

/** A name for the file. */
export const fileName = (name: string, ending: string): string =>
  `${
    name
      .replace(/[^\p{L}\p{N}]+/gu, '-')
      .replace(/^-+|-+$/g, '')
      .slice(0, 60) || 'chat'
  }.${ending}`;

/** Gives the reader a file. */
export function save(text: string, name: string, type: string): void {
  const url = URL.createObjectURL(new Blob([text], { type }));
  Object.assign(document.createElement('a'), { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
