/** What went wrong while a model was fetched, and what to do about it. */
export class PullError extends Error {
  override readonly name = 'PullError';
  /** HTTP status of the hub's answer, when it was the hub that refused. */
  readonly status?: number;

  constructor(message: string, options: { status?: number; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.status = options.status;
  }
}
