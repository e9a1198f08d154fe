/** What goes wrong with a request, in OpenAI's words: one class, one envelope. */
import { PagesLost } from '../engine/paged.ts';

export type ErrorType =
  | 'invalid_request_error'
  | 'authentication_error'
  | 'permission_error'
  | 'rate_limit_error'
  | 'server_error'
  | 'service_unavailable_error';

export interface ErrorEnvelope {
  error: { message: string; type: ErrorType; param: string | null; code: string | null };
}

interface Details {
  type?: ErrorType;
  code?: string;
  /** The request's field at fault, as a path: `messages[2].content`. */
  param?: string;
  headers?: Record<string, string>;
  cause?: unknown;
}

/** An error whose message may be shown to a client. Anything else thrown becomes `internalError`. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly status: number;
  readonly type: ErrorType;
  readonly code: string | null;
  readonly param: string | null;
  /** To be set on the HTTP response beside content-type, e.g. retry-after. */
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, message: string, details: Details = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.status = status;
    this.type = details.type ?? (status >= 500 ? 'server_error' : 'invalid_request_error');
    this.code = details.code ?? null;
    this.param = details.param ?? null;
    this.headers = details.headers ?? {};
  }

  envelope(): ErrorEnvelope {
    return { error: { message: this.message, type: this.type, param: this.param, code: this.code } };
  }
}

export const badRequest = (message: string, param?: string, code = 'invalid_value'): ApiError =>
  new ApiError(400, message, { param, code });

export const unsupported = (param: string, why: string): ApiError =>
  new ApiError(400, `Unsupported parameter: '${param}'. ${why}`, { param, code: 'unsupported_parameter' });

export const unsupportedValue = (param: string, why: string): ApiError =>
  new ApiError(400, `Unsupported value: '${param}'. ${why}`, { param, code: 'unsupported_value' });

/** `asked` = prompt tokens + tokens to generate; known after tokenization. */
/** `about`: before the prompt's number when it was not counted to its end. */
export const contextOverflow = (
  context: number,
  prompt: number,
  output: number,
  param = 'messages',
  about: '' | 'at least ' = '',
): ApiError =>
  new ApiError(
    400,
    `This model's context is ${context} tokens, but ${about}${prompt + output} were requested (${about}${prompt} in the prompt, ${output} to generate). ` +
      'Shorten the prompt or lower the number of tokens to generate.',
    { param, code: 'context_length_exceeded' },
  );

/** The prompt fits, what is asked for after it does not; `param` as the client spelt it. */
export const outputOverflow = (context: number, prompt: number, output: number, param: string): ApiError =>
  new ApiError(
    400,
    `'${param}' is ${output}, but after a prompt of ${prompt} tokens this model's context of ${context} has room for ${context - prompt}. ` +
      'Lower it, or leave it out to go up to the end of the context.',
    { param, code: 'context_length_exceeded' },
  );

export const unauthorized = (): ApiError =>
  new ApiError(401, 'Missing or incorrect API key. Send it as "Authorization: Bearer KEY".', {
    type: 'authentication_error',
    code: 'invalid_api_key',
    headers: { 'www-authenticate': 'Bearer' },
  });

export const notFound = (message: string): ApiError => new ApiError(404, message, { code: 'not_found' });

export const modelNotFound = (model: string, served?: string | readonly string[]): ApiError =>
  new ApiError(
    404,
    `The model '${clip(model)}' does not exist here.${
      served
        ? ` This server serves ${[served]
            .flat()
            .map((m) => `'${m}'`)
            .join(', ')}.`
        : ' See GET /v1/models.'
    }`,
    {
      param: 'model',
      code: 'model_not_found',
    },
  );

export const methodNotAllowed = (method: string, path: string, allow: string): ApiError =>
  new ApiError(405, `${clip(method, 16)} is not allowed on ${clip(path, 128)}; use ${allow}.`, {
    code: 'method_not_allowed',
    headers: { allow },
  });

export const payloadTooLarge = (limit: number): ApiError =>
  new ApiError(413, `The request's body is larger than the ${limit} bytes this server reads.`, { code: 'payload_too_large' });

/** `seconds` becomes Retry-After, rounded up. */
export const rateLimited = (seconds: number, why = 'Too many requests.'): ApiError => {
  const wait = Math.max(1, Math.ceil(seconds));
  return new ApiError(429, `${why} Try again in ${wait} s.`, {
    type: 'rate_limit_error',
    code: 'rate_limit_exceeded',
    headers: { 'retry-after': String(wait) },
  });
};

export const serverOverloaded = (why = 'The server is overloaded.', seconds = 1): ApiError =>
  new ApiError(503, `${why} Try again later.`, {
    type: 'service_unavailable_error',
    code: 'server_overloaded',
    headers: { 'retry-after': String(Math.max(1, Math.ceil(seconds))) },
  });

/** Of an answer that another replica may give: the queue knows that this one could not (durable-objects/replica). */
export const ELSEWHERE = 'x-turnstone-elsewhere';
const ISOLATE_TAKEN = 'isolate_taken';
export const isIsolateTaken = (error: unknown): boolean => (error as { code?: unknown } | undefined)?.code === ISOLATE_TAKEN;

/** A replica whose isolate computes for others of its model already, and is planned for no more. */
export const isolateTaken = (): ApiError =>
  new ApiError(503, 'This isolate computes for another replica of the model. Ask again.', {
    type: 'service_unavailable_error',
    code: ISOLATE_TAKEN,
    headers: { 'retry-after': '1', [ELSEWHERE]: '1' },
  });

const WHY = {
  queue_full: 'The queue is full.',
  too_slow: 'The wait would be too long.',
  rate_limit: 'Too many requests.',
  concurrency_limit: 'Too many requests at once.',
  draining: 'The server is being replaced.',
  erased: 'What is kept of this key is being erased.',
} as const;

/** The queue's refusal as the client sees it: 429, or 503 while the server is replaced, with Retry-After. */
export const refused = ({ reason, retryAfter }: { reason: keyof typeof WHY; retryAfter: number }): ApiError =>
  reason === 'draining' || reason === 'erased' ? serverOverloaded(WHY[reason], retryAfter) : rateLimited(retryAfter, WHY[reason]);

/** A replica that could not load its model; the next request tries again, maybe on another. */
export const modelUnavailable = (cause: unknown): ApiError =>
  new ApiError(503, 'The model could not be loaded; the server’s log says why.', {
    type: 'service_unavailable_error',
    code: 'model_unavailable',
    cause,
  });

/** Seconds in which a stage of a model is started again. */
const RESTART_S = 5;

/** Says nothing of the cause to the client; the cause is for the log. */
export const internalError = (cause?: unknown): ApiError =>
  new ApiError(500, 'The server had an error while processing the request.', { code: 'internal_error', cause });

/** Whether the same request may succeed elsewhere or later: every other fault is the request's own, and comes again with it. */
export const isTransient = (status: number): boolean => status === 503;

export const asApiError = (error: unknown): ApiError =>
  error instanceof ApiError
    ? error
    : error instanceof PagesLost
      ? serverOverloaded('A part of the model is being started again.', RESTART_S)
      : internalError(error);

/** Client text quoted in a message is cut, so that an error stays small. */
export function clip(text: string, max = 64): string {
  return text.length > max ? `${text.slice(0, max)}…` : text;
}
