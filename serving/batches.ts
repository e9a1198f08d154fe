/** What `/v1/files` and `/v1/batches` ask of the place that keeps a key's files and batches, and how they are shown. */

import { ApiError } from '../openai/errors.ts';
import type { LineError, NewBatch, NewFile } from '../openai/requests/batches.ts';

export interface FileObject {
  id: string;
  object: 'file';
  bytes: number;
  created_at: number;
  expires_at: number;
  filename: string;
  purpose: string;
  status: 'processed';
}

export type BatchStatus = 'failed' | 'in_progress' | 'finalizing' | 'completed' | 'expired' | 'cancelling' | 'cancelled';

export interface BatchObject {
  id: string;
  object: 'batch';
  endpoint: string;
  errors: { object: 'list'; data: LineError[] } | null;
  input_file_id: string;
  completion_window: string;
  status: BatchStatus;
  output_file_id: string | null;
  error_file_id: string | null;
  created_at: number;
  in_progress_at: number | null;
  expires_at: number;
  finalizing_at: number | null;
  completed_at: number | null;
  failed_at: number | null;
  expired_at: number | null;
  cancelling_at: number | null;
  cancelled_at: number | null;
  request_counts: { total: number; completed: number; failed: number };
  metadata: Record<string, string> | null;
}

/** `full`: files or batches of the key are as many as are kept. */
export type Kept<T> = { ok: true; value: T } | { ok: false; why: 'not_found' | 'full' | 'in_use' };

/** A tenant's files and batches. */
export interface BatchKeeper {
  addFile(about: NewFile, bytes: Uint8Array): Promise<Kept<FileObject>>;
  files(): Promise<FileObject[]>;
  /** With what it holds. */
  file(id: string, content?: boolean): Promise<Kept<{ file: FileObject; bytes?: Uint8Array }>>;
  removeFile(id: string): Promise<Kept<null>>;
  begin(tenant: string, batch: NewBatch): Promise<Kept<BatchObject>>;
  batches(): Promise<BatchObject[]>;
  batch(id: string): Promise<Kept<BatchObject>>;
  cancel(id: string): Promise<Kept<BatchObject>>;
  /** Nothing of the tenant's is left. */
  erase(): Promise<void>;
}

/** The value; throws 404, 409 or 429. `what`: a file or a batch. */
export function found<T>(kept: Kept<T>, what: 'File' | 'Batch', id: string): T {
  if (kept.ok) return kept.value;
  if (kept.why === 'full') {
    throw new ApiError(
      429,
      `This key has as many ${what === 'File' ? 'files' : 'batches'} as are kept; delete some, or wait for old ones to expire.`,
      {
        type: 'rate_limit_error',
        code: 'quota_exceeded',
      },
    );
  }
  if (kept.why === 'in_use') {
    throw new ApiError(409, `File '${id.slice(0, 80)}' is still read by a batch that runs.`, { param: 'file_id', code: 'file_in_use' });
  }
  throw new ApiError(404, `${what} with id '${id.slice(0, 80)}' not found.`, { param: `${what.toLowerCase()}_id`, code: 'not_found' });
}
