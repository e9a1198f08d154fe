/** What the page and its worker say to each other. */

export type DeviceState =
  | { phase: 'off' }
  | { phase: 'loading'; loaded: number; total: number; message?: string }
  /** `carried`: tokens of the conversation whose pages came from the server. */
  | { phase: 'ready'; engine: string; carried?: number }
  | { phase: 'failed'; message: string };

export type ToWorker =
  | { kind: 'start'; id: string; key: string; prefer?: 'wasm' }
  | { kind: 'fetch'; call: number; path: string; method: string; body?: string }
  | { kind: 'abort'; call: number }
  /** Pages of the conversation that the server computed, as it sent them. */
  | { kind: 'pages'; call: number; bytes: Uint8Array }
  | { kind: 'remove'; call: number };

export type FromWorker =
  | { kind: 'state'; state: DeviceState }
  | { kind: 'head'; call: number; status: number; headers: [string, string][] }
  | { kind: 'bytes'; call: number; bytes: Uint8Array }
  | { kind: 'end'; call: number; value?: number }
  | { kind: 'error'; call: number; message: string };
