import { templateOf } from '../../models/pack/template.ts';
import type { ChatTemplate } from '../../models/template.ts';
import { TextTooLong, type Tokenizer } from '../../models/tokenizer/tokenizer.ts';
import { unmark, unmarked } from '../../openai/dialects/marks.ts';
import { ApiError, badRequest, contextOverflow } from '../../openai/errors.ts';
import { templateMessages, templateTools } from '../../openai/requests/messages.ts';
import { describeTools, shortIds, writeOut } from '../../openai/requests/tool-prompt.ts';
import type { ChatMessage, ChatRequest, ResponsesRequest, Tool } from '../../openai/requests/types.ts';
import { dialectFor } from './constraint.ts';
import type { Served } from './runtime.ts';

/** A private-use character that keeps a client's text from spelling a control token; the tokenizer drops it again. */
export const GUARD = '\uE0FF';

/** Tokens that a prompt may have, and what the client calls it. */
export interface Room {
  limit: number;
  param: string;
}

/** Puts GUARD into every control token's text that occurs in `text`, so that `<|im_end|>` in a message stays text. */
export function guard(text: string, control: readonly string[]): string {
  let t = text.includes(GUARD) ? text.replaceAll(GUARD, '') : text;
  for (const c of control) if (t.includes(c)) t = t.replaceAll(c, c[0] + GUARD + c.slice(1));
  return t;
}

export type Conversation = { messages: readonly ChatMessage[]; tools: readonly Tool[] } & Partial<
  Pick<ChatRequest, 'templateArgs' | 'chatTemplate' | 'addGenerationPrompt' | 'continueFinal' | 'maxTokens'> &
    Pick<ResponsesRequest, 'truncate'>
>;

/**
 * Token ids of a conversation under the model's chat template, with the opening of the assistant's turn. With a `limit` (tokens), a
 * conversation that is longer is refused (400) as soon as that is known: one that is far longer before it is copied or tokenized.
 */
export function chatPrompt(
  served: Served,
  conversation: Conversation,
  room: Room = { limit: Number.POSITIVE_INFINITY, param: 'messages' },
): number[] {
  return conversation.truncate ? truncatedPrompt(served, conversation, room) : wholePrompt(served, conversation, room);
}

/** The longest end of a conversation that leaves room for the answer; its system message stays, and it begins with a user's turn. */
function truncatedPrompt(served: Served, conversation: Conversation, room: Room): number[] {
  const { messages, maxTokens = 1 } = conversation;
  const first = messages.findIndex((m) => m.role !== 'system' && m.role !== 'developer');
  const begins = messages.flatMap((m, i) => (i > first && m.role === 'user' ? [i] : []));
  const from = (cut: number) =>
    cut === 0 ? conversation : { ...conversation, messages: [...messages.slice(0, first), ...messages.slice(begins[cut - 1])] };
  const limit = Math.max(1, room.limit + 1 - maxTokens);
  const fits = (cut: number): number[] | undefined => {
    try {
      return wholePrompt(served, from(cut), { ...room, limit });
    } catch (error) {
      if (error instanceof ApiError && error.code === 'context_length_exceeded') return undefined;
      throw error;
    }
  };
  const whole = fits(0);
  if (whole) return whole;
  let found: number[] | undefined;
  for (let lo = 1, hi = begins.length; lo <= hi; ) {
    const mid = (lo + hi) >> 1;
    const ids = fits(mid);
    if (ids) found = ids;
    if (ids) hi = mid - 1;
    else lo = mid + 1;
  }
  return found ?? wholePrompt(served, from(begins.length), room);
}

function wholePrompt(served: Served, conversation: Conversation, { limit, param }: Room): number[] {
  const { tokenizer } = served;
  const least = tokenizer.fewest(conversation.messages.reduce((n, m) => n + (m.content?.length ?? 0), 0));
  if (least > limit) throw contextOverflow(limit + 1, least, 1, param, 'at least ');
  const text = guardedText(served, conversation);
  return within({ limit, param }, () => tokenizer.encode(text, { special: true, bos: false, drop: GUARD, limit }));
}

/** The prompt's text, as the model reads it. */
export const chatText = (served: Served, conversation: Conversation): string => guardedText(served, conversation).replaceAll(GUARD, '');

function guardedText(of: Served, conversation: Conversation): string {
  const served = withTemplate(of, conversation.chatTemplate);
  const { template } = served;
  if (!template) {
    throw badRequest("This model has no chat template; send a 'chat_template', or use /v1/completions.", 'messages', 'no_chat_template');
  }
  const { tools, templateArgs: args = {}, continueFinal = false, addGenerationPrompt = true } = conversation;
  // an answer that has begun stands behind the opening of its turn, as if it had just been written
  const begun = continueFinal ? (conversation.messages.at(-1)?.content ?? '') : '';
  const messages = continueFinal ? conversation.messages.slice(0, -1) : conversation.messages;
  const printed = tools.length === 0 || template.printsTools;
  const dialect = dialectFor(served);
  const render = (given: readonly ChatMessage[]) => {
    const safe = deepGuard(templateMessages(given), served.control) as ReturnType<typeof templateMessages>;
    const safeTools =
      printed && tools.length > 0 ? (deepGuard(templateTools(tools), served.control) as ReturnType<typeof templateTools>) : undefined;
    return template.render({ messages: safe, tools: safeTools, addGenerationPrompt, args });
  };
  const past = messages.some((m) => m.role === 'tool' || (m.role === 'assistant' && m.toolCalls));
  try {
    let text: string;
    if (!printed) text = renderDescribed(render, messages, tools, dialect);
    else if (past && !template.printsCalls) text = unmark(render(writeOut(unmarked(messages), dialect)));
    else text = render(dialect.startsWith('mistral') ? shortIds(messages) : messages);
    return text + guard(begun, served.control);
  } catch (error) {
    // a template refuses with raise_exception, e.g. roles that must alternate
    const reason = `The chat template refuses these messages: ${error instanceof Error ? error.message : error}`;
    throw badRequest(reason, conversation.chatTemplate === undefined ? 'messages' : 'chat_template');
  }
}

const KEPT_TEMPLATES = 8;
const compiled = new WeakMap<Tokenizer, Map<string, ChatTemplate>>();

/** The model under the client's own chat template, where one came with the request. Throws 400 when it does not parse. */
export function withTemplate(served: Served, source: string | undefined): Served {
  if (source === undefined || served.template?.source === source) return served;
  const kept = compiled.get(served.tokenizer) ?? new Map<string, ChatTemplate>();
  compiled.set(served.tokenizer, kept);
  let template = kept.get(source);
  if (!template) {
    try {
      template = templateOf({ ...served.template, chatTemplate: source }, served.tokenizer);
    } catch (error) {
      throw badRequest(`Invalid 'chat_template': ${error instanceof Error ? error.message : error}`, 'chat_template');
    }
    kept.set(source, template);
    for (const old of kept.keys()) if (kept.size > KEPT_TEMPLATES) kept.delete(old);
  }
  return { ...served, template };
}

/** For a template that prints no tools: they are described in a system turn, or where it knows none, in the first turn of the user. */
function renderDescribed(
  render: (m: readonly ChatMessage[]) => string,
  messages: readonly ChatMessage[],
  tools: readonly Tool[],
  dialect: string,
): string {
  const given = unmarked(messages);
  try {
    return unmark(render(describeTools(given, tools, 'system', dialect)));
  } catch {
    return unmark(render(describeTools(given, tools, 'user', dialect)));
  }
}

/** Runs `encode`, whose TextTooLong is told as what it means: the context is `limit` tokens and one to generate. */
function within({ limit, param }: Room, encode: () => number[]): number[] {
  try {
    return encode();
  } catch (error) {
    if (error instanceof TextTooLong) throw contextOverflow(limit + 1, error.atLeast, 1, param, 'at least ');
    throw error;
  }
}

/** Token ids of a completion's prompt, at most `limit`; an empty one is the model's beginning-of-sequence token. */
export function completionPrompt(tokenizer: Tokenizer, prompt: string | readonly number[], limit: number): number[] {
  if (typeof prompt !== 'string') return [...prompt];
  const ids = within({ limit, param: 'prompt' }, () => tokenizer.encode(prompt, { limit }));
  if (ids.length > 0) return ids;
  const begin = tokenizer.bos ?? tokenizer.eos;
  if (begin === undefined) throw badRequest('The prompt is empty and this model has no beginning-of-sequence token.', 'prompt');
  return [begin];
}

/** `guard` on every string inside a JSON value. */
function deepGuard(value: unknown, control: readonly string[]): unknown {
  if (typeof value === 'string') return guard(value, control);
  if (Array.isArray(value)) return value.map((v) => deepGuard(v, control));
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [guard(k, control), deepGuard(v, control)]));
  }
  return value;
}
