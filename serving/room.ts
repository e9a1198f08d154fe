/**
 * How long a prompt may be, known before it is tokenized: each replica says with its answers how many tokens its prompts may have and
 * how many UTF-16 units one of them stands for at most. What is longer than their product is refused here, before it is copied,
 * queued or sent on.
 */

import type { Context } from 'hono';
import { contextOverflow } from '../openai/errors.ts';
import { itemMessages } from '../openai/requests/items.ts';
import type { ChatMessage, ChatRequest, CompletionRequest, ResponsesRequest } from '../openai/requests/types.ts';
import { readNumber } from '../policy/settings.ts';
import type { App, Host } from './host.ts';
import { PROMPT_ROOM } from './prompt-room.ts';

/**
 * The most that is read of any body, where MAX_BODY_BYTES does not say: a quarter of the 16 MiB that the plan gives JavaScript beside
 * its vocabulary (durable-objects/replica/memory.ts). A body is there four times at once: its values here, its JSON on the way, that
 * text and its values in the replica.
 */
const MOST = 4 << 20;
/** What a body has beside the conversation: tools, a schema, parameters. */
const BESIDE = 1 << 20;
/** JSON may write each UTF-16 unit as `\uXXXX`. */
const ESCAPED = 6;

interface Room {
  tokens: number;
  units: number;
}

/** Of each model, as this isolate has heard of it. */
const rooms = new Map<string, Room>();

/** Notes what a replica says with an answer; nothing of it is the client's. */
export function noteRoom(model: string | undefined, headers: Headers): void {
  const [tokens, units] = (headers.get(PROMPT_ROOM) ?? '').split(' ').map(Number);
  headers.delete(PROMPT_ROOM);
  if (tokens > 0 && units > 0) rooms.set(model ?? '', { tokens, units });
}

export const maxBodyBytes = ({ vars }: Host): number => readNumber('MAX_BODY_BYTES', vars) ?? MOST;

/** The most that is read of a body with one conversation. Where there are several models, which one it is for is not known yet. */
export function conversationBytes(host: Host): number {
  const { MODEL_ID, MODELS, MAX_BODY_BYTES } = host.vars;
  const most = maxBodyBytes(host);
  const room = rooms.get(MODEL_ID ?? '');
  if (!room || MODELS || host.launcher || MAX_BODY_BYTES) return most;
  return Math.min(most, room.tokens * room.units * ESCAPED + BESIDE);
}

/** Throws 400 when no prompt of that length can fit, whatever it says. */
export function checkRoom(c: Context<App>, request: ChatRequest | CompletionRequest | ResponsesRequest): void {
  const room = rooms.get(c.get('model') ?? c.env.vars.MODEL_ID ?? '');
  if (!room) return;
  const check = (least: number, param: string) => {
    if (least > room.tokens) throw contextOverflow(room.tokens + 1, least, 1, param, 'at least ');
  };
  const tokens = (units: number) => Math.ceil(units / room.units);
  if (request.kind === 'response' && request.truncate) return;
  if (request.kind === 'completion') {
    for (const p of request.prompts) check(typeof p === 'string' ? tokens(p.length) : p.length, 'prompt');
  } else {
    const messages: readonly ChatMessage[] =
      request.kind === 'response' && request.input.length > 0 ? itemMessages(request.input, request.instructions) : request.messages;
    const units = messages.reduce((n, m) => n + (m.content?.length ?? 0), 0);
    check(tokens(units), request.kind === 'response' ? 'input' : 'messages');
  }
}
