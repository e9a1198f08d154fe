/** Calls Turnstone through a service binding: no network in between. `GET /?q=…` streams the answer's text. */

interface Env {
  TURNSTONE: Fetcher;
  TURNSTONE_KEY?: string;
}

interface Chunk {
  choices: { delta: { content?: string } }[];
}

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const question = new URL(request.url).searchParams.get('q') ?? 'Who are you?';
    const answer = await env.TURNSTONE.fetch('https://turnstone/v1/chat/completions', {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(env.TURNSTONE_KEY && { authorization: `Bearer ${env.TURNSTONE_KEY}` }) },
      body: JSON.stringify({ model: 'pebble', stream: true, messages: [{ role: 'user', content: question }] }),
    });
    if (!answer.ok || !answer.body) return answer;
    const text = answer.body.pipeThrough(new TextDecoderStream()).pipeThrough(deltas()).pipeThrough(new TextEncoderStream());
    return new Response(text, { headers: { 'content-type': 'text/plain; charset=utf-8' } });
  },
} satisfies ExportedHandler<Env>;

/** Server-sent events in, the answer's text out. A chunk may end anywhere. */
function deltas(): TransformStream<string, string> {
  let rest = '';
  return new TransformStream({
    transform(chunk, controller) {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        if (!line.startsWith('data: {')) continue;
        const text = (JSON.parse(line.slice(6)) as Chunk).choices[0]?.delta.content;
        if (text) controller.enqueue(text);
      }
    },
  });
}
