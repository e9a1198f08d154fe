import { EventSourceParserStream } from 'eventsource-parser/stream';

export interface Message {
  role: 'system' | 'user' | 'assistant';
  content: string;
}

/** A server that speaks OpenAI's chat API. */
export interface Chat {
  /** Without `/v1`. */
  url: string;
  model: string;
  key?: string;
}

/** As the API names them; what is not given is left to the model. */
export interface Sampling {
  temperature?: number;
  top_p?: number;
  top_k?: number;
  min_p?: number;
  max_tokens?: number;
  seed?: number;
}

export interface Answer {
  text: string;
  /** Why it ended: `stop`, `length`. */
  reason: string;
  tokens: { prompt: number; cached: number; answer: number };
  /** Milliseconds from the request to the first token and from there to the last. */
  ms: { first: number; rest: number };
}

interface Chunk {
  error?: { message: string };
  choices?: { delta?: { content?: string; reasoning_content?: string }; finish_reason?: string | null }[];
  usage?: { prompt_tokens: number; completion_tokens: number; prompt_tokens_details?: { cached_tokens?: number } };
}

/** Sends a conversation and calls `write` with each piece of the answer as it comes. Rejects with the server's own message. */
export async function ask(
  chat: Chat,
  messages: readonly Message[],
  sampling: Sampling,
  write: (piece: string) => void,
  signal?: AbortSignal,
): Promise<Answer> {
  const began = performance.now();
  const r = await fetch(`${chat.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(chat.key && { authorization: `Bearer ${chat.key}` }) },
    body: JSON.stringify({ model: chat.model, messages, ...sampling, stream: true, stream_options: { include_usage: true } }),
    signal,
  });
  if (!r.ok || !r.body) throw new Error(await messageOf(r));
  const answer: Answer = { text: '', reason: '', tokens: { prompt: 0, cached: 0, answer: 0 }, ms: { first: 0, rest: 0 } };
  const events = r.body.pipeThrough(new TextDecoderStream()).pipeThrough(new EventSourceParserStream());
  for await (const { data } of events) {
    if (data === '[DONE]') break;
    const chunk = JSON.parse(data) as Chunk;
    if (chunk.error) throw new Error(chunk.error.message);
    const choice = chunk.choices?.[0];
    const piece = choice?.delta?.content ?? '';
    if (piece || choice?.delta?.reasoning_content) answer.ms.first ||= performance.now() - began;
    if (piece) {
      answer.text += piece;
      write(piece);
    }
    answer.reason = choice?.finish_reason ?? answer.reason;
    if (chunk.usage) {
      const { prompt_tokens: prompt, completion_tokens, prompt_tokens_details } = chunk.usage;
      answer.tokens = { prompt, cached: prompt_tokens_details?.cached_tokens ?? 0, answer: completion_tokens };
    }
  }
  if (!answer.reason) throw new Error('the answer broke off');
  answer.ms.first ||= performance.now() - began;
  answer.ms.rest = performance.now() - began - answer.ms.first;
  return answer;
}

/** The models that a server has. Rejects when there is none, or it asks for a key. */
export async function models(url: string, key?: string): Promise<string[]> {
  const r = await get(url, '/v1/models', key);
  if (!r.ok) throw new Error(await messageOf(r));
  return ((await r.json()) as { data: { id: string }[] }).data.map((m) => m.id);
}

/** A server's address as a user gives it, without the API's path. */
export const baseOf = (url: string): string => url.replace(/\/+$/, '').replace(/\/v1$/, '');

/** What a server answers there. Rejects when nobody does. */
export const get = (base: string, path: string, key?: string): Promise<Response> =>
  fetch(base + path, { headers: key ? { authorization: `Bearer ${key}` } : {} }).catch((error: Error) => {
    throw new Error(`${base} does not answer: ${(error.cause as Error | undefined)?.message ?? error.message}`);
  });

async function messageOf(r: Response): Promise<string> {
  const text = await r.text();
  try {
    return (JSON.parse(text) as Chunk).error?.message ?? text;
  } catch {
    return `the server answered ${r.status}: ${text.slice(0, 200)}`;
  }
}

/** What an answer cost, in a line. */
export function costOf({ tokens, ms, reason }: Answer): string {
  const speed = tokens.answer > 1 && ms.rest > 0 ? `, ${(((tokens.answer - 1) / ms.rest) * 1000).toFixed(1)} tokens/s` : '';
  const cached = tokens.cached > 0 ? ` (${tokens.cached} cached)` : '';
  return `${tokens.prompt} tokens read${cached}, first after ${ms.first.toFixed(0)} ms; ${tokens.answer} written${speed}; ended by ${reason}`;
}
