import { ANY } from './charset.ts';
import { type Dfa, lengths } from './dfa.ts';
import { type Flat, sameJson } from './flat.ts';

/** The automata a string of this flat schema must satisfy; none when its character set and length say all. */
export function stringDfas(f: Flat): Dfa[] {
  const { dfas, chars, min, max } = f.string;
  const plain = sameJson(chars, ANY) && min === 0 && max === Infinity;
  return dfas.length === 0 || plain ? dfas : [...dfas, lengths(chars, min, max)];
}
