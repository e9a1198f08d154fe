import { isRecord } from './json.ts';

/** What went wrong, in words for a reader, and what to do next. */
export interface ProblemInfo {
  /** `key`: a key is needed; `settings`: a setting must change first; `retry`: the same request may succeed; `new`: start a new chat. */
  next: 'key' | 'settings' | 'retry' | 'new';
  title: string;
  advice: string;
  /** The server's own message, shown small. */
  detail?: string;
  /** Seconds the server asks to wait. */
  after?: number;
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
  const detail = message;
  const make = (next: ProblemInfo['next'], title: string, advice: string, after?: number) =>
    new Problem({ next, title, advice, detail, after });

  if (status === 401) return make('key', 'This server asks for an API key.', 'Enter the key below; it stays in this tab.');
  if (status === 403) return make('key', 'This key may not do that.', 'Try another key, or ask whoever runs this server.');
  if (code === 'context_length_exceeded')
    return make('new', 'The conversation no longer fits the model’s context.', 'Start a new chat, or shorten an earlier message.');
  if (status === 404) return make('settings', 'The server does not have this model.', 'Choose another one in the settings.');
  if (status === 413) return make('new', 'That message is too large for this server.', 'Send a shorter one.');
  if (status === 429 || code === 'rate_limit_exceeded') {
    const after = seconds(retryAfter);
    return make('retry', 'The server is busy.', after ? `It asks to wait ${after} s.` : 'Wait a moment, then try again.', after);
  }
  if (status === 400 || status === 422)
    return make(
      'settings',
      param ? `The server refused “${param}”.` : 'The server refused the request.',
      'Change it in the settings, or edit the message.',
    );
  if (code === 'server_overloaded') {
    return make('retry', 'The server is overloaded.', 'Wait a moment, then try again.', seconds(retryAfter));
  }
  if (code === 'device_failed') {
    return make('retry', 'The GPU of this device failed.', 'Try again: the model is loaded anew from what is kept here.');
  }
  if (status === 503) {
    return make('retry', 'The model is not ready yet.', 'It may still be loading. Try again in a few seconds.', seconds(retryAfter));
  }
  return make('retry', 'The server ran into a fault.', 'Nothing you did. Try again; its log says more.');
}

/** No answer at all. */
export function offline(): Problem {
  return new Problem({
    next: 'retry',
    title: 'The server cannot be reached.',
    advice: 'See that it is running and that you are online, then try again.',
  });
}

/** The stream ended in the middle of an answer. */
export function brokenOff(): Problem {
  return new Problem({
    next: 'retry',
    title: 'The connection broke off.',
    advice: 'What arrived is kept above. Try again for a whole answer.',
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
