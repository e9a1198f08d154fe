/** The mutants of a file, as StrykerJS's instrumenter lists them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Instrumenter } from '@stryker-mutator/instrumenter';

export interface Mutant {
  /** Relative to the repository. */
  file: string;
  /** From 1. */
  line: number;
  column: number;
  /** Which rule made it, e.g. `EqualityOperator`. */
  rule: string;
  /** The text that is replaced, at `at` in the file, and what it becomes. */
  original: string;
  replacement: string;
  at: number;
}

const silent = new Proxy({}, { get: (_, name) => (String(name).startsWith('is') ? () => false : () => {}) });

/** Babel's paths, as far as they are looked at. */
interface Path {
  node: { type: string; callee?: { name?: string; object?: { name?: string } } };
}

/** What people read, not programs: the text of errors and of the log. Every other line is mutated. */
const told = {
  shouldIgnore({ node }: Path): string | undefined {
    if (node.type === 'ThrowStatement') return 'the text of an error';
    if (node.type === 'NewExpression' && /Error$/.test(node.callee?.name ?? '')) return 'the text of an error';
    if (node.type === 'CallExpression' && node.callee?.object?.name === 'console') return 'a line of the log';
    return undefined;
  },
};

export async function mutantsOf(root: string, file: string): Promise<Mutant[]> {
  const content = readFileSync(join(root, file), 'utf8');
  const instrumenter = new Instrumenter(silent as never);
  const options = { ignorers: [told], excludedMutations: [], plugins: null, noHeader: true };
  const { mutants } = await instrumenter.instrument([{ name: file, content, mutate: true }], options as never);
  const starts = [0];
  for (const line of content.split('\n')) starts.push((starts.at(-1) as number) + line.length + 1);
  const place = (p: { line: number; column: number }) => starts[p.line] + p.column;
  return mutants
    .filter((m) => m.status !== 'Ignored')
    .map((m) => ({
      file,
      line: m.location.start.line + 1,
      column: m.location.start.column + 1,
      rule: m.mutatorName,
      original: content.slice(place(m.location.start), place(m.location.end)),
      replacement: m.replacement as string,
      at: place(m.location.start),
    }));
}

/** The file's text with the mutant in it. */
export const mutated = (text: string, m: Mutant): string => text.slice(0, m.at) + m.replacement + text.slice(m.at + m.original.length);

/** `n` of them, drawn without putting back; the same for the same seed and list. */
export function sample<T>(all: readonly T[], n: number, seed: number): T[] {
  const rest = [...all];
  let state = seed >>> 0;
  const next = (): number => {
    // mulberry32, a public-domain generator
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const drawn: T[] = [];
  while (drawn.length < n && rest.length > 0) drawn.push(...rest.splice(Math.floor(next() * rest.length), 1));
  return drawn;
}
