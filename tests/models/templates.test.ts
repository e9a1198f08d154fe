/** Real chat templates × conversations, beside what Jinja2 made of them (tests/fixtures/templates.py). */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { compileTemplate } from '../../models/template.ts';
import { dataPath, missing, readJson, readText } from './data.ts';

const read = (name: string): unknown => JSON.parse(readFileSync(new URL(`../fixtures/${name}`, import.meta.url), 'utf8'));
const conversations = read('conversations.json') as (Record<string, unknown> & { messages: Record<string, unknown>[] })[];
const expected = read('templates.json') as Record<string, string>;
const VECTORS = 'templates/huggingface-e2e-vectors.json';
const why = missing(VECTORS);

/** By the names that the script gives them. */
function templates(): Map<string, string> {
  const files = readdirSync(dataPath('templates/jinja')).sort();
  const found = new Map(files.map((f) => [f.replace(/\.jinja$/, ''), readText(`templates/jinja/${f}`)]));
  for (const { name, chat_template: source } of readJson(VECTORS) as { name: string; chat_template: string }[]) {
    const last = name.split(' > ').at(-1) as string;
    if (![...found.values()].includes(source)) found.set(found.has(last) ? `${last} 2` : last, source);
  }
  return found;
}

function render(source: string, conversation: (typeof conversations)[number]): string {
  const { messages, tools, add_generation_prompt, ...args } = conversation;
  const template = compileTemplate(source, { bos: '<s>', eos: '</s>', now: () => new Date(Date.UTC(2025, 6, 10)) });
  try {
    const input = { messages, tools: tools as Record<string, unknown>[], addGenerationPrompt: add_generation_prompt as boolean, args };
    return createHash('sha256').update(template.render(input)).digest('hex').slice(0, 16);
  } catch {
    return 'error';
  }
}

describe.skipIf(why)(`chat templates as Jinja2 renders them${why}`, () => {
  const found = why ? new Map<string, string>() : templates();

  it('are fifty', () => {
    expect([...found.keys()].sort()).toEqual(Object.keys(expected).sort());
    expect(found.size).toBeGreaterThanOrEqual(50);
    expect(conversations).toHaveLength(20);
  });

  it.each([...found])('%s', (name, source) => {
    const texts = expected[name].split(' ');
    const ours = conversations.map((c) => render(source, c));
    // what Jinja2 stumbles over (a text joined with an object, say) may come out here
    expect(ours.map((text, i) => (texts[i] === 'error' ? 'error' : text))).toEqual(texts);
  });
});
