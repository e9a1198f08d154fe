/** Why tests were skipped, and what of it `REQUIRE` can name. */

/** What a run of a suite notes for the gate (scripts/notes.ts, scripts/python.ts), as it goes. */
export interface Noted {
  /** Files of tests that have not ended; the gate runs them once more when they hang. */
  open: string[];
  /** All have been told of; what follows is the end of a process. */
  ended: boolean;
  /** Of the files that have ended, as all that follows. */
  passed: number;
  failed: number;
  /** Tests that passed only when they were tried again. */
  retried: { test: string; times: number; why: string }[];
  skipped: { why: string; tests: number }[];
}

/** Of a test that is skipped without a word; the gate fails on it. */
export const NO_REASON = 'no reason given';

/** What may be missing, by how the reason speaks of it. */
const KINDS: Record<string, RegExp> = {
  data: /shared\/data/,
  models: /turnstone-models|on this machine|\.gguf/,
  browser: /chrom/i,
  python: /python|pytorch/i,
  npm: /npm registry/,
  gpu: /package webgpu|no adapter found/,
};

/** Of which kind a reason is; undefined: of none that can be required, such as a case outside of a contract. */
export const kindOf = (why: string): string | undefined => Object.keys(KINDS).find((kind) => KINDS[kind].test(why));

/** The kinds that a list such as `data,browser` names. `wrong` is told of one that is none. */
export function wantedKinds(list: string, wrong: (why: string) => void): Set<string> {
  const kinds = list.split(',').map((k) => k.trim());
  const named = kinds.filter((k) => k !== '');
  for (const k of named) if (!(k in KINDS)) wrong(`REQUIRE=${list}: ${k} is none of ${Object.keys(KINDS).join(', ')}`);
  return new Set(named);
}

/** The reason in a test's name, as in `a long text (skipped: ../shared/data/x is not there)`. */
export const reasonIn = (name: string): string | undefined => {
  const [, skipped, outside] = /\(skipped: (.*?)\)(?= > |$)|\((outside the contract)/.exec(name) ?? [];
  return skipped ?? outside;
};
/** The reason in a line that a file of tests prints. */
export const reasonSaid = (line: string): string | undefined => /skipped: (.*)/.exec(line)?.[1].trim();
