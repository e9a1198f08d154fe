/** How errors are told below each path: in the form of the API that is spoken there. */
import { asApiError } from '../openai/errors.ts';
import { anthropicError } from '../openai/stream/anthropic.ts';
import { ollamaError } from '../openai/stream/ollama.ts';

export const MESSAGES = '/v1/messages';
export const OLLAMA = '/api';

type ErrorForm = (status: number, message: string) => Record<string, unknown>;

/** Elsewhere it is OpenAI's envelope. */
const FORMS: Readonly<Record<string, ErrorForm>> = { [MESSAGES]: anthropicError, [OLLAMA]: ollamaError };

const formOf = (path: string): ErrorForm | undefined =>
  Object.entries(FORMS).find(([under]) => path === under || path.startsWith(`${under}/`))?.[1];

/** An error as clients of that path expect it. What is not an ApiError is logged here and tells the client nothing. */
export function errorResponse(path: string, error: unknown): Response {
  const shown = asApiError(error);
  if (shown.status === 500) console.error('request failed:', error);
  const body = formOf(path)?.(shown.status, shown.message) ?? shown.envelope();
  return Response.json(body, { status: shown.status, headers: shown.headers });
}

/** What a replica, which refuses in OpenAI's envelope, answered to a request of that path. */
export async function inForm(path: string, response: Response): Promise<Response> {
  const form = formOf(path);
  if (response.ok || !form) return response;
  const { error } = (await response.json()) as { error?: { message?: string } };
  const headers = new Headers(response.headers);
  headers.delete('content-length');
  return Response.json(form(response.status, error?.message ?? 'The server had an error.'), { status: response.status, headers });
}
