/** A client that measures: one streamed completion, the time of every token. */

export interface Stream {
  /** ms from sending to the first token. */
  ttft: number;
  /** ms between the pieces that carry tokens, divided by the tokens each carries. */
  gaps: number[];
  tokens: number;
  /** ms from the first token to the last. */
  span: number;
  cached: number;
}

/** Runs `POST /v1/completions` on token ids, greedily, for as many tokens as are asked for. Rejects with the server's message. */
export async function complete(url: string, model: string, prompt: readonly number[], maxTokens: number): Promise<Stream> {
  const body = JSON.stringify({
    model,
    prompt,
    max_tokens: maxTokens,
    temperature: 0,
    ignore_eos: true,
    stream: true,
    stream_options: { include_usage: true },
  });
  const sent = performance.now();
  const response = await fetch(`${url}/v1/completions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  if (!response.ok || !response.body) throw new Error(`/v1/completions answered ${response.status}: ${await response.text()}`);
  const decoder = new TextDecoder();
  let rest = '';
  let first = 0;
  let last = sent;
  let usage: { completion_tokens: number; prompt_tokens_details?: { cached_tokens?: number } } | undefined;
  const arrivals: number[] = [];
  for await (const bytes of response.body) {
    const now = performance.now();
    const frames = (rest + decoder.decode(bytes as Uint8Array, { stream: true })).split('\n\n');
    rest = frames.pop() ?? '';
    for (const frame of frames) {
      if (!frame.startsWith('data: {')) continue;
      const data = JSON.parse(frame.slice(6)) as { choices: { text?: string }[]; usage?: typeof usage; error?: { message: string } };
      if (data.error) throw new Error(data.error.message);
      if (data.usage) usage = data.usage;
      if (!data.choices?.some((c) => c.text)) continue;
      if (first === 0) first = now;
      arrivals.push(now);
      last = now;
    }
  }
  if (first === 0) first = last = performance.now(); // no visible text: the end is all there is to see
  const gaps = arrivals.slice(1).map((t, i) => t - arrivals[i]);
  return {
    ttft: first - sent,
    gaps,
    tokens: usage?.completion_tokens ?? arrivals.length,
    span: last - first,
    cached: usage?.prompt_tokens_details?.cached_tokens ?? 0,
  };
}

/** tokens/s of a stream after its first token. */
export const rate = (s: Stream): number => (1000 * (s.tokens - 1)) / s.span;
