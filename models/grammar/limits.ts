/** What a schema may cost. Isolates have no clock that advances while computing, so every bound is a count. */
export const LIMITS = {
  /** JSON text of one schema, UTF-16 units. */
  schemaChars: 128 * 1024,
  /** Nesting of subschemas, and of values inside `enum` and `const`. */
  depth: 64,
  /** Branches of one value after anyOf, oneOf and allOf are multiplied out. */
  alternatives: 256,
  /** Values of one `enum`. */
  enumValues: 1_000,
  /** Distinct subschemas (conjunctions of subschemas under allOf). */
  rules: 4_000,
  /** Negations within each other. */
  negations: 16,
  /** States of an array whose items are told apart: by which of them were there, or how many. */
  arrayStates: 256,
  /** States of the byte automaton. */
  states: 100_000,
  patternChars: 1_000,
  /** Characters of a pattern with its repetitions written out. */
  patternPositions: 2_000,
  /** States of one string automaton (pattern, format, their intersection with lengths). */
  dfaStates: 4_000,
  /** Elementary steps of building all string automata of one schema, about a second. */
  dfaWork: 4_000_000,
  /** Arcs of the byte automaton, 16 bytes each. */
  arcs: 250_000,
  /** Lengths and item counts up to here are exact; larger ones are refused. */
  count: 1_000_000,
  tools: 128,
  /** State sets a running grammar may discover. */
  sets: 20_000,
} as const;

/** Steps left to spend on one schema. */
export class Budget {
  private left: number = LIMITS.dfaWork;

  spend(steps: number): void {
    this.left -= steps;
    if (this.left < 0) throw new GrammarError('', '', 'the patterns of this schema take too long to compile; simplify them');
  }
}

/** A schema, pattern or grammar that cannot be compiled. `pointer` is a JSON pointer into the schema. */
export class GrammarError extends Error {
  readonly pointer: string;
  readonly keyword: string;

  constructor(place: string, keyword: string, reason: string) {
    const pointer = place.replace(/~#.*$/s, ''); // what was worked out of a subschema stands where that does
    super(`${pointer === '' ? 'at the root' : `at ${pointer}`}${keyword === '' ? '' : `, "${keyword}"`}: ${reason}`);
    this.name = 'GrammarError';
    this.pointer = pointer;
    this.keyword = keyword;
  }
}

/** What is right but nothing here follows: it may be left out where nobody asks for all of it to be enforced. */
export class Unsupported extends GrammarError {
  readonly reason: string;

  constructor(place: string, keyword: string, reason: string) {
    super(place, keyword, reason);
    this.reason = reason;
  }
}
