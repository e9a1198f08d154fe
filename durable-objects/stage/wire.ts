/** What a replica and the stages of its model say to each other: one call a step, arguments and results as they are. */
import type { KvFormat, PageCopies, Part, StageSlice } from '../../engine/index.ts';
import type { Best, RunnerSize } from '../../engine/runner.ts';

/** What a replica wants a stage to be. */
export interface StageOrder {
  /** Of the bundle (build-id.ts), and the pack's digest: a stage that has others refuses. */
  build: string;
  pack: string;
  /** The pack's name where packs are kept. */
  model: string;
  part: Part;
  kv: KvFormat;
  size: RunnerSize;
  pages: number;
}

export type StageCall =
  | { op: 'embed'; ids: Uint32Array }
  | { op: 'through'; slices: readonly StageSlice[]; x: Uint8Array; copies: PageCopies }
  | { op: 'head'; x: Uint8Array; best?: Best }
  | { op: 'read'; page: number; place: number }
  | { op: 'write'; page: number; bytes: Uint8Array; place: number };

/** `gone`: this is not the stage that was opened, and what that one held is not here. `error`: the call's own fault. */
export type StageAnswer = { bytes: Uint8Array } | { gone: true } | { error: string };

/** A stage's Durable Object. */
export interface StageObject {
  /**
   * Loads its part, and names what it holds from now on: whoever opened it before is shut out. `again`: it may be otherwise soon, since one of the two is
   * of a build that is being replaced.
   */
  open(order: StageOrder): Promise<{ instance: string } | { refused: string; again?: boolean }>;
  /** `trace`: the `traceparent` of a generation that is traced, with its first call. */
  call(instance: string, call: StageCall, trace?: string): Promise<StageAnswer>;
}
