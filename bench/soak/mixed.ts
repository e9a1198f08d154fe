/** Clients that ask a server of several models for one after the other at random; every answer must be the one of a server with that model alone. */

export interface Ask {
  prompt: string;
  tokens: number;
  temperature: number;
  seed: number;
}

export const ASKS: readonly Ask[] = ['Who are you?', 'A fox met a crow', 'Once upon a time', 'How old is Ivan?'].flatMap((prompt, i) => [
  { prompt, tokens: 12 + 4 * i, temperature: 0, seed: 1 },
  { prompt, tokens: 32, temperature: 1, seed: 7 + i },
]);

const headers = { 'content-type': 'application/json' };

/** One answer; `stream` changes how it comes, not what. A refusal (429, 503) is waited for as long as it says. */
export async function answerOf(url: string, model: string, ask: Ask, stream = false): Promise<string> {
  const { prompt, tokens: max_tokens, temperature, seed } = ask;
  const all = { top_p: 1, top_k: 0, min_p: 0 }; // of all tokens, whatever the model recommends: so models differ most
  const body = JSON.stringify({ model, prompt, max_tokens, temperature, ...all, seed, stream, ignore_eos: true });
  for (let tries = 0; ; tries++) {
    const r = await fetch(`${url}/v1/completions`, { method: 'POST', headers, body });
    const text = await r.text();
    if (r.ok && !stream) return (JSON.parse(text) as { choices: { text: string }[] }).choices[0].text;
    if (r.ok && !/^data: \{"error"/m.test(text)) {
      return [...text.matchAll(/^data: (\{.*)$/gm)].map((m) => JSON.parse(m[1]).choices[0]?.text ?? '').join('');
    }
    if ((r.status !== 429 && r.status !== 503) || tries > 20) throw new Error(`${model}: ${r.status} ${text}`);
    await new Promise((resolve) => setTimeout(resolve, 1000 * Number(r.headers.get('retry-after') ?? 1)));
  }
}

async function vectorOf(url: string, input: string): Promise<string> {
  const r = await fetch(`${url}/v1/embeddings`, { method: 'POST', headers, body: JSON.stringify({ input }) });
  if (!r.ok) throw new Error(`embeddings: ${r.status} ${await r.text()}`);
  return JSON.stringify(((await r.json()) as { data: { embedding: number[] }[] }).data[0].embedding);
}

export interface Mixed {
  url: string;
  /** What each model answers alone, by `ASKS`. */
  alone: ReadonlyMap<string, readonly string[]>;
  clients: number;
  forMs: number;
  /** In [0, 1). */
  random: () => number;
  /** The encoder is asked, too. */
  embeddings?: boolean;
}

export interface MixedResult {
  answers: Map<string, number>;
  /** What was answered otherwise than alone, a line each. */
  wrong: string[];
}

export async function mixed(o: Mixed): Promise<MixedResult> {
  const result: MixedResult = { answers: new Map(), wrong: [] };
  const until = Date.now() + o.forMs;
  const models = [...o.alone.keys()];
  const vectors = o.embeddings ? await Promise.all(ASKS.map((a) => vectorOf(o.url, a.prompt))) : [];
  const pick = (n: number) => Math.floor(o.random() * n);
  const client = async () => {
    while (Date.now() < until) {
      const m = pick(models.length + (o.embeddings ? 1 : 0));
      const a = pick(ASKS.length);
      const name = models[m] ?? 'embeddings';
      const expected = m === models.length ? vectors[a] : o.alone.get(name)?.[a];
      const asked = m === models.length ? vectorOf(o.url, ASKS[a].prompt) : answerOf(o.url, name, ASKS[a], o.random() < 0.5);
      const got = await asked.catch((error: Error) => `${error.name}: ${error.message}`); // none is an answer that is wrong
      result.answers.set(name, (result.answers.get(name) ?? 0) + 1);
      if (got !== expected) result.wrong.push(`${name}, ${JSON.stringify(ASKS[a])}: ${got} and not ${expected}`);
    }
  };
  await Promise.all(Array.from({ length: o.clients }, client));
  return result;
}

/** What a server with one model answers. */
export const answersAlone = (url: string, model: string): Promise<string[]> => Promise.all(ASKS.map((a) => answerOf(url, model, a)));
