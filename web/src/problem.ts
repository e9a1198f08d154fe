import { isRecord } from './json.ts';

/** What went wrong, in words for a reader, and what to do next. */
export interface ProblemInfo {
  /** `key`: a key is needed; `settings`: a setting must change first; `retry`: the same request may succeed; `full`: the context is; `edit`: the message must be shorter. */
  next: 'key' | 'settings' | 'retry' | 'full' | 'edit';
  title: string;
  advice: string;
  /** The server's own message, shown small. */
  detail?: string;
  /** The server's code and parameter, for the page itself. */
  code?: string;
  param?: string;
  /** Seconds the server asks to wait. */
  after?: number;
  /** The connection or the server was away: an answer that is kept can be listened to again. */
  transient?: true;
}

export class Problem extends Error {
  readonly info: ProblemInfo;
  constructor(info: ProblemInfo) {
    super(info.title);
    this.info = info;
  }
}

/** An HTTP error (or an error inside a stream) with OpenAI's envelope, or whatever a proxy wrote instead, as a `Problem`. */
export function problemOf(status: number, body: string, retryAfter: string | null): Problem {
  const { message, code, param } = envelope(body);
  const make = (next: ProblemInfo['next'], title: string, advice: string, more: Partial<ProblemInfo> = {}) =>
    new Problem({ next, title, advice, detail: message, code, param, ...more });
  const after = seconds(retryAfter);
  const wait = after ? `It asks to wait ${after} s.` : 'Wait a moment, then try again.';

  if (status === 401) return make('key', 'This server asks for an API key.', 'Enter the key below; it stays in this tab.');
  if (status === 403) return make('key', 'This key may not do that.', 'Try another key, or ask whoever runs this server.');
  if (code === 'context_length_exceeded')
    return make('full', 'The conversation no longer fits the model’s context.', 'Choose what happens to its beginning:');
  if (status === 404 && code === 'model_not_found')
    return make('settings', 'The server does not have this model.', 'Choose another one in the settings.');
  if (status === 404) return make('retry', 'The server no longer has this answer.', 'Ask for it again.');
  if (status === 413) return make('edit', 'That message is too large for this server.', 'Shorten it and send it again.');
  if (status === 429 || code === 'rate_limit_exceeded') {
    if (/too many requests/i.test(message ?? ''))
      return make('retry', 'You have asked faster than this server allows.', after ? `Your next request is taken in ${after} s.` : wait, {
        after,
      });
    return make('retry', 'The server is busy with others.', wait, { after });
  }
  if (status === 400 || status === 422)
    return make(
      'settings',
      param ? `The server refused “${param}”.` : 'The server refused the request.',
      'Change it in the settings, or edit the message.',
    );
  if (code === 'server_overloaded') return make('retry', 'The server is overloaded.', wait, { after, transient: true });
  if (code === 'device_failed') {
    return make('retry', 'The GPU of this device failed.', 'Try again: the model is loaded anew from what is kept here.');
  }
  if (status === 503) {
    return make('retry', 'The model is being loaded.', 'This takes a few seconds after a start; then try again.', {
      after,
      transient: true,
    });
  }
  return make('retry', 'The server ran into a fault.', 'Nothing you did. Try again; its log says more.', { transient: true });
}

/** No answer at all. */
export function offline(): Problem {
  return new Problem({
    next: 'retry',
    title: 'The server cannot be reached.',
    advice: 'See that it is running and that you are online, then try again.',
    transient: true,
  });
}

/** The stream ended in the middle of an answer. */
export function brokenOff(): Problem {
  return new Problem({
    next: 'retry',
    title: 'The connection broke off.',
    advice: 'What arrived is kept above. Continue it, or try again for a whole answer.',
    transient: true,
  });
}

/** Anything thrown, as a `Problem`; a fault of the page's own is named as such. */
export function asProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  return new Problem({
    next: 'retry',
    title: 'Something in this page failed.',
    advice: 'Try again, or reload the page.',
    detail: String(error),
  });
}

function envelope(body: string): { message?: string; code?: string; param?: string } {
  let error: unknown;
  try {
    const parsed: unknown = JSON.parse(body);
    error = isRecord(parsed) ? parsed.error : undefined;
  } catch {}
  if (typeof error === 'string') return { message: error.slice(0, 500) };
  if (!isRecord(error)) return {};
  const text = (value: unknown) => (typeof value === 'string' && value ? value.slice(0, 500) : undefined);
  return { message: text(error.message), code: text(error.code), param: text(error.param) };
}

/** `Retry-After` as whole seconds, at most an hour; a date or nonsense is left out. */
function seconds(header: string | null): number | undefined {
  const value = Number(header ?? Number.NaN);
  return Number.isFinite(value) && value > 0 ? Math.min(Math.ceil(value), 3600) : undefined;
}
