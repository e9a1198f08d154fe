/**
 * What token masks cost: `npx tsx bench/grammar/index.ts`. Answers are drawn at random under grammars over the vocabulary of
 * SmolLM2-135M-Instruct (49,152 tokens), and every mask is timed: those of a grammar's first answers, in which its masks are made, and those after.
 * All is done RUNS times, from a new compiler each, and of each mask the shortest time counts: what a mask costs, without what the machine does beside.
 */
import { cpus } from 'node:os';
import { createGrammarCompiler, type Grammar, type GrammarVocab } from '../../models/grammar/index.ts';
import { openModel } from '../../models/node/files.ts';
import { createTokenizer } from '../../models/tokenizer/tokenizer.ts';
import { schemas } from '../../tests/grammar/schemas.ts';
import { random } from '../../tests/grammar/vocabularies.small.ts';
import { realModel } from '../real-models.ts';
import { digits, quantile } from '../stats.ts';

const ANSWERS = 20;
const RUNS = 4;
const MAX_TOKENS = 400;

const JSON_GRAMMAR = `root ::= object
value ::= object | array | string | number | "true" | "false" | "null"
object ::= "{" ws (string ":" ws value ("," ws string ":" ws value)*)? ws "}"
array ::= "[" ws (value ("," ws value)*)? ws "]"
string ::= "\\"" ([^"\\\\\\x00-\\x1F] | "\\\\" ["\\\\bfnrt])* "\\""
number ::= "-"? ("0" | [1-9] [0-9]{0,15}) ("." [0-9]{1,10})?
ws ::= [ \\n]{0,4}`;

const model = await openModel(realModel('smollm2').path);
const tokenizer = createTokenizer(model.tokenizer);
await model.close();
const stop = tokenizer.idOf('<|im_end|>') as number;
const vocab: GrammarVocab = {
  size: tokenizer.vocab,
  stopIds: [stop],
  isSpecial: (id) => tokenizer.isSpecial(id),
  bytesOf: (id) => tokenizer.bytesOf(id),
};

const tools = schemas.slice(0, 5).map(([, parameters], i) => ({ name: `save_${i}`, parameters }));
type Kind = [kind: string, make: (compiler: ReturnType<typeof createGrammarCompiler>) => Grammar];
const kinds: Kind[] = [
  ...schemas.map(([name, schema]): Kind => [`schema: ${name}`, (c) => c.jsonSchema(schema)]),
  ['any JSON object', (c) => c.jsonObject()],
  ['five tools, required', (c) => c.tools(tools, 'required')],
  ['five tools, Qwen3-Coder', (c) => c.tools(tools, 'required', { dialect: 'xml' })],
  ['five tools, FunctionGemma', (c) => c.tools(tools, 'required', { dialect: 'gemma' })],
  ['pattern', (c) => c.regex('\\d{4}-\\d{2}-\\d{2}( \\d{2}:\\d{2})?|[A-Z][a-z]+( [A-Z][a-z]+){1,3}')],
  ['JSON as GBNF', (c) => c.gbnf(JSON_GRAMMAR)],
];

/** Processor time, since others may use the machine. */
const cpuMs = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};

/** Draws an answer, short tokens rarely, and notes what each mask took, µs. */
function draw(grammar: Grammar, next: () => number, times: number[]): void {
  const c = grammar.start();
  for (let n = 0; n < MAX_TOKENS; n++) {
    const began = cpuMs();
    const mask = c.mask();
    times.push(1000 * (cpuMs() - began));
    let id = -1;
    for (let tries = 0; tries < 200 && id < 0; tries++) {
      const at = Math.floor(next() * vocab.size);
      if (mask === null || (mask[at >> 5] >>> (at & 31)) & 1) id = at;
    }
    if (id < 0 && mask) {
      const allowed: number[] = [];
      for (let at = 0; at < vocab.size; at++) if ((mask[at >> 5] >>> (at & 31)) & 1) allowed.push(at);
      id = c.mayEnd() && next() < 0.5 ? stop : allowed[Math.floor(next() * allowed.length)];
    }
    if (id === stop) return;
    c.accept(id);
  }
}

const row = (name: string, times: readonly number[]) =>
  console.log(
    `| ${name} | ${times.length} | ${digits(times.reduce((a, b) => a + b, 0) / times.length)} | ${digits(quantile(times, 0.5))} | ${digits(quantile(times, 0.99))} | ${digits(Math.max(...times))} |`,
  );

console.log(
  `${cpus()[0].model}, Node ${process.versions.node}, ${vocab.size} tokens, ${new Date().toISOString().slice(0, 10)}; µs a mask\n`,
);
console.log('| grammar | masks | mean | median | 99 % | longest |\n| --- | ---: | ---: | ---: | ---: | ---: |');
for (const [, make] of kinds) draw(make(createGrammarCompiler(vocab)), random(1), []); // the compiler's own code
const first: number[] = [];
const later: number[] = [];
for (const [name, make] of kinds) {
  const runs = Array.from({ length: RUNS }, () => {
    const grammar = make(createGrammarCompiler(vocab));
    const next = random(7);
    const [cold, warm]: [number[], number[]] = [[], []];
    for (let i = 0; i < ANSWERS; i++) draw(grammar, next, cold);
    for (let i = 0; i < ANSWERS; i++) draw(grammar, next, warm);
    return { cold, warm };
  });
  const least = (times: readonly number[][]) => times[0].map((_, i) => Math.min(...times.map((t) => t[i])));
  const cold = least(runs.map((r) => r.cold));
  first.push(...cold);
  later.push(...least(runs.map((r) => r.warm)));
  row(name, cold);
}
row(`**all, first ${ANSWERS} answers of each**`, first);
row(`**all, ${ANSWERS} more**`, later);
