/** Runs inside workerd: draws texts under grammars, for the test outside to check. */

import { createGrammarCompiler, type Grammar } from '../../models/grammar/index.ts';
import { schemas } from './schemas.ts';
import { random, small } from './vocabularies.small.ts';

function draw(grammar: Grammar, next: () => number): string {
  const c = grammar.start();
  const out: number[] = [];
  for (let i = 0; i < 2000; i++) {
    const mask = c.mask();
    const ids: number[] = [];
    for (let id = 0; id < small.size; id++) if (!mask || (mask[id >> 5] >>> (id & 31)) & 1) ids.push(id);
    const id = ids[Math.floor(next() * ids.length)];
    c.accept(id);
    if (small.stopIds.includes(id)) return new TextDecoder().decode(Uint8Array.from(out));
    out.push(...small.bytesOf(id));
  }
  throw new Error('no end');
}

export default {
  fetch(): Response {
    const compiler = createGrammarCompiler(small);
    const next = random(1);
    const texts = schemas.map(([, schema]) => {
      const grammar = compiler.jsonSchema(schema);
      return [1, 2, 3].map(() => draw(grammar, next));
    });
    const call = draw(compiler.tools([{ name: 'save', parameters: schemas[0][1] }], 'required', { parallel: false }), next);
    return Response.json({ texts, call });
  },
};
