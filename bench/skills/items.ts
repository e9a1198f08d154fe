/** The held-out items, answered greedily through the engine. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { sha256 } from '@noble/hashes/sha2.js';
import { ROOT } from '../../cli/build.ts';
import { type Constraint, Engine, formatsOf, GREEDY, type KvFormat, planMemory } from '../../engine/index.ts';
import { createGrammarCompiler, type ToolSpec } from '../../models/grammar/index.ts';
import { compileTemplate } from '../../models/template.ts';
import { createTokenizer } from '../../models/tokenizer/tokenizer.ts';
import type { Loaded } from './models.ts';
import { type Check, right } from './score.ts';

export interface Item {
  skill: string;
  messages: Record<string, unknown>[];
  tools?: { function: ToolSpec }[];
  schema?: unknown;
  check: Check;
}

const MAX_TOKENS = 140;

/** Up to `limit` items of each skill. */
export function heldOutItems(limit: number): Item[][] {
  const folder = join(ROOT, 'training/eval');
  return readdirSync(folder)
    .filter((f) => f.endsWith('.jsonl'))
    .map((f) => readFileSync(join(folder, f), 'utf8').trim().split('\n').slice(0, limit))
    .map((lines) => lines.map((l) => JSON.parse(l) as Item));
}

export interface Reader {
  prompt(item: Item): number[];
  /** The answers' text, greedily; `constrained`: schema and tools bind the tokens, as they do over HTTP. */
  texts(items: readonly Item[], constrained: boolean): Promise<string[]>;
  /** Which items are answered rightly; as for `texts`. */
  answer(items: readonly Item[], constrained: boolean): Promise<boolean[]>;
}

export function reader({ model, backend, weights }: Loaded, kv: KvFormat): Reader {
  const { config } = model;
  const tokenizer = createTokenizer(model.tokenizer);
  const template = compileTemplate(model.chatTemplate ?? '', { bos: '', eos: '' });
  const stopIds = [...new Set([...tokenizer.stopIds, ...model.generation.stopIds])];
  const plan = planMemory({
    ...{ config, formats: formatsOf(weights), kv, weightBytes: 0, memoryBytes: 1 << 30, jsBytes: 0, measure: () => 0 },
    ...{ maxSequences: 32, pages: kv === 'f32' ? 1024 : 2048 },
  });
  const engine = new Engine({ backend, config, weights, plan, hash: sha256, pack: 'bench' });
  const grammars = createGrammarCompiler({
    size: config.vocab,
    stopIds,
    bytesOf: (id) => tokenizer.bytesOf(id),
    isSpecial: (id) => tokenizer.isSpecial(id),
  });
  const prompt = (item: Item) => {
    const text = template.render({ messages: item.messages, tools: item.tools, addGenerationPrompt: true });
    return [...tokenizer.encode(text, { special: true, bos: false })];
  };
  const lenient = { onUnsupported: () => {} };
  const constraint = (item: Item): Constraint | undefined => {
    if (item.schema) return grammars.jsonSchema(item.schema, lenient).start();
    const tools = item.tools?.map((t) => t.function);
    return tools && grammars.tools(tools, 'auto', lenient).start();
  };
  const texts = async (items: readonly Item[], constrained: boolean) => {
    const answers = items.map(() => [] as number[]);
    items.forEach((item, i) => {
      const ids = prompt(item);
      engine.add({
        ...{ id: `${i}`, prompt: ids, stopIds, salt: '', maxTokens: Math.min(MAX_TOKENS, engine.maxPrompt + 1 - ids.length) },
        sampling: GREEDY,
        ...(constrained && { constraint: constraint(item) }),
      });
    });
    while (engine.busy) {
      for (const e of await engine.step()) for (const t of e.tokens) answers[Number(e.request)].push(t.id);
    }
    return answers.map((ids) => tokenizer.decode(ids, { skipSpecial: true }));
  };
  return {
    prompt,
    texts,
    async answer(items, constrained) {
      const answers = await texts(items, constrained);
      return items.map((item, i) => right(item.check, answers[i]));
    },
  };
}
