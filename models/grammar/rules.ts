/** What objects and arrays need of whoever turns subschemas into rules (build.ts). */
import type { Dfa } from './dfa.ts';
import type { Flattener, Node } from './flat.ts';
import type { Fragment, Net } from './net.ts';
import type { Syntax } from './syntax.ts';

export interface Rules {
  readonly net: Net;
  readonly schema: Flattener;
  readonly syntax: Syntax;
  /** The rule of a value that satisfies all of these. */
  rule(nodes: readonly Node[]): number;
  /** A value as it is written. */
  literal(v: unknown, at: string, depth: number): Fragment;
  /** A member's name: a text, or any that an automaton accepts. */
  name(name: string | Dfa | undefined): Fragment;
}
