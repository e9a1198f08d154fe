/**
 * The README's examples, asked over HTTP of the shipped model as `npm start` serves it, at temperature 0.
 *
 *   npx tsx bench/skills/examples.ts
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../../cli/build.ts';
import { startServer } from '../../cli/start.ts';

const WEATHER = {
  type: 'function',
  function: {
    name: 'get_weather',
    description: 'Get the weather in a city.',
    parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  },
};
const PERSON = {
  type: 'object',
  properties: { name: { type: 'string' }, age: { type: 'integer' }, city: { type: 'string' } },
  required: ['name', 'age', 'city'],
};
const TEXT = 'This is Walter Stone. Now 45 years of age. Lives in Prague.';
const QUESTIONS = ['How old is Ivan?', 'How many lemons did Rosa buy?', 'At what time does Henry start?'];

const server = await startServer({ port: 0 });
try {
  const call = await ask([user('What is the weather in Lisbon?')], { tools: [WEATHER] });
  const [made] = call.message.tool_calls ?? [];
  show('tool call', made?.function ?? call.message.content);
  if (made) {
    const result = { role: 'tool', tool_call_id: made.id, content: '{"temperature": 19, "sky": "cloudy"}' };
    show(
      'its result told',
      (await ask([user('What is the weather in Lisbon?'), call.message, result], { tools: [WEATHER] })).message.content,
    );
  }
  const schema = JSON.stringify(PERSON).replace(/([:,])"/g, '$1 "');
  const form = { type: 'json_schema', json_schema: { name: 'person', schema: PERSON, strict: true } };
  show(
    'JSON',
    (await ask([user(`Extract the data from this text as JSON.\nSchema: ${schema}\nText: ${TEXT}`)], { response_format: form })).message
      .content,
  );
  const passage = readFileSync(join(ROOT, 'bench/skills/passage.txt'), 'utf8').trim();
  for (const q of process.argv.slice(2).length > 0 ? process.argv.slice(2) : QUESTIONS) {
    const { message, usage } = await ask([user(`${passage}\n\n${q}`)]);
    show(`${q} (${usage.prompt_tokens} prompt tokens, ${usage.prompt_tokens_details?.cached_tokens ?? 0} from the cache)`, message.content);
  }
} finally {
  await server.stop();
}

interface Message {
  role: string;
  content: string | null;
  tool_calls?: { id: string; function: { name: string; arguments: string } }[];
}
interface Usage {
  prompt_tokens: number;
  prompt_tokens_details?: { cached_tokens: number };
}

async function ask(messages: object[], options: object = {}): Promise<{ message: Message; usage: Usage }> {
  const r = await fetch(`${server.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: server.pack.id, messages, temperature: 0, max_tokens: 120, ...options }),
  });
  const body = (await r.json()) as { error?: { message: string }; choices: { message: Message }[]; usage: Usage };
  if (body.error) throw new Error(body.error.message);
  return { message: body.choices[0].message, usage: body.usage };
}

function user(content: string): Message {
  return { role: 'user', content };
}

function show(what: string, answer: unknown): void {
  console.log(`${what}: ${typeof answer === 'string' ? answer : JSON.stringify(answer)}`);
}
