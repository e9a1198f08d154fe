import { DurableObject } from 'cloudflare:workers';
import type { Item, MessageItem } from '../../openai/requests/item-types.ts';
import type { RunLine, RunOrder } from '../../serving/responses/types.ts';

/** What the test tells the replica through the request: how long, and when to fail. */
export interface Script {
  tokens: number;
  /** Break the stream once this many tokens were sent in all, on the first so many attempts. */
  dieAt?: number;
  deaths?: number;
  delayMs?: number;
  /** Refuse with this status at once. */
  refuse?: number;
  /** Answer a line of an error with this status before the first token. */
  fault?: number;
  finish?: 'stop' | 'length';
  /** Never end. */
  hang?: boolean;
  /** Say nothing more from this token on, and keep the stream open, on an attempt that began before it. */
  hangAt?: number;
}

/** Token `index` of a run: a function of seed and index alone, as sampling is. Every fifth shows no text. */
export const tokenAt = (seed: readonly [number, number], index: number): number => (Math.imul(seed[0] ^ index, 2654435761) >>> 0) % 50_000;
export const textOf = (id: number, index: number): string => (index % 5 === 4 ? '' : `${id.toString(36)} `);

/** Stands where a replica stands: answers an order with the lines of a generation, and dies when told to. */
export class TestReplica extends DurableObject {
  readonly #attempts = new Map<string, number>();
  readonly #ended: string[] = [];
  orders: RunOrder[] = [];

  override async fetch(request: Request): Promise<Response> {
    const order = (await request.json()) as RunOrder;
    this.orders.push(order);
    const script = order.request as unknown as Script;
    if (script.refuse) return Response.json({ error: { message: 'refused', type: 'invalid_request_error' } }, { status: script.refuse });
    const attempt = (this.#attempts.get(order.response) ?? 0) + 1;
    this.#attempts.set(order.response, attempt);
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
    const over = () => void this.#ended.push(order.response);
    this.ctx.waitUntil(
      run(order, script, attempt, writable)
        .catch(() => {})
        .then(over),
    );
    return new Response(readable);
  }

  /** Orders so far, as JSON. */
  seen(): string {
    return JSON.stringify(this.orders);
  }

  /** Of which responses a run ended here, however it did. */
  over(): string[] {
    return this.#ended;
  }
}

async function run(order: RunOrder, script: Script, attempt: number, writable: WritableStream<Uint8Array>): Promise<void> {
  const writer = writable.getWriter();
  writer.closed.catch(() => {}); // a death is not an accident here
  const encoder = new TextEncoder();
  const send = (line: RunLine) => writer.write(encoder.encode(`${JSON.stringify(line)}\n`));
  const prompt = order.prompt.length > 0 ? [...order.prompt] : promptOf([...order.history, ...order.input]);
  await send({ type: 'start', prompt, cachedTokens: order.history.length > 0 ? 16 : 0, fingerprint: order.model });
  if (script.fault) {
    await send({ type: 'error', status: script.fault, error: { message: 'a fault', type: 'server_error' } });
    return writer.close();
  }
  for (let i = order.generated.length; i < script.tokens; i++) {
    if (script.dieAt !== undefined && i >= script.dieAt && attempt <= (script.deaths ?? 1)) {
      await writer.abort(new Error('killed'));
      return;
    }
    if (i === script.hangAt && order.generated.length < i) return;
    const id = tokenAt(order.seed, i);
    await send({ type: 'tokens', from: i, ids: [id], text: [textOf(id, i)] });
    if (script.delayMs) await new Promise((resolve) => setTimeout(resolve, script.delayMs));
  }
  if (script.hang) return;
  await send({ type: 'end', finish: script.finish ?? 'stop', tail: '!', output: [said('assistant', `${script.tokens}`)] });
  await writer.close();
}

/** A message, as the API has it. */
export const said = (role: MessageItem['role'], text: string): MessageItem => ({
  ...{ type: 'message', id: '', role, status: 'completed' },
  content: [{ type: role === 'assistant' ? 'output_text' : 'input_text', text }],
});

/** The prompt of so many items, as this replica makes it. */
export const promptOf = (items: readonly Item[]): number[] => [...JSON.stringify(items)].map((c) => c.charCodeAt(0));
