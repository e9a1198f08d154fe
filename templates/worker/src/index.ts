import turnstone, { type Env } from 'turnstone/worker';

export { Batches, Replica, Scheduler, Session, Socket, Tenant } from 'turnstone/worker';

export default {
  fetch(request, env, ctx) {
    const url = new URL(request.url);
    if (url.pathname === '/ask') return ask(url.searchParams.get('q') ?? '', request.signal, env, ctx);
    return turnstone.fetch(request, env, ctx); // OpenAI's API, for callers that have a key
  },
} satisfies ExportedHandler<Env>;

interface Chunk {
  choices: { delta: { content?: string } }[];
}

/** One answer's text, streamed. The model runs beside this code, so nothing leaves the Worker; the key stays in it. */
async function ask(question: string, signal: AbortSignal, env: Env, ctx: ExecutionContext): Promise<Response> {
  if (!question || question.length > 2000) return new Response('q: a question of 1 to 2,000 characters\n', { status: 400 });
  const key = env.API_KEYS?.split(',')[0].split(':').at(-1)?.trim();
  const request = new Request('https://turnstone/v1/chat/completions', {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
    body: JSON.stringify({ stream: true, max_tokens: 200, messages: [{ role: 'user', content: question }] }),
    signal,
  });
  const answer = await turnstone.fetch(request, env, ctx);
  if (!answer.ok || !answer.body) return answer;
  const text = answer.body.pipeThrough(new TextDecoderStream()).pipeThrough(deltas()).pipeThrough(new TextEncoderStream());
  return new Response(text, { headers: { 'content-type': 'text/plain; charset=utf-8' } });
}

/** Server-sent events in, the answer's text out. A piece may end anywhere. */
function deltas(): TransformStream<string, string> {
  let rest = '';
  return new TransformStream({
    transform(piece, controller) {
      const lines = (rest + piece).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        if (!line.startsWith('data: {')) continue;
        const text = (JSON.parse(line.slice(6)) as Chunk).choices[0]?.delta.content;
        if (text) controller.enqueue(text);
      }
    },
  });
}
