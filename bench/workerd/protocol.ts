/** What the bench asks its Worker: one JSON body to one path each; the clock is the asker's. */

export interface LoadBody {
  /** The pack's prefix in the bucket. */
  id: string;
  context: number;
  sequences: number;
  verify?: boolean;
}

export interface PrefillBody {
  prompts: number[][];
  maxTokens: number;
  stopIds?: number[];
  /** Speculate as the engine would by itself; default never. */
  speculate?: boolean;
}

export interface MeasuredBody {
  /** Decode steps of so many rows each took so long. */
  ms: number;
  rows: number[];
}

export interface KernelBody {
  /** As of tests/kernels/cases. */
  kind: 'matmul' | 'attention' | 'topk';
  shape: Record<string, unknown> | (number | string)[];
  iterations: number;
  /** Prepare only: nothing is timed, everything is compiled. */
  warm?: boolean;
}

export interface ProbeBody {
  kind: 'read' | 'i8' | 'i8sum' | 'i8dot' | 'f32';
  bytes: number;
  iterations: number;
}
