/** A session's stored response as the API shows it. */

import type { ErrorEnvelope } from '../../openai/errors.ts';
import { outputOf, type ResponseMeta, type ResponseStatus, responseObject, type TextOptions } from '../../openai/stream/response-events.ts';
import type { StoredResponse } from './types.ts';

/** The object of a stored response, with the text it has so far. */
export function storedResponseObject(r: StoredResponse, text: string): Record<string, unknown> {
  const meta = metaOf(r);
  const open = r.status === 'queued' || r.status === 'in_progress';
  const output = r.output.length > 0 ? r.output : outputOf(meta, text, formOf(r), open ? 'incomplete' : (r.status as 'completed'));
  return responseObject(meta, {
    ...stateOf(r),
    output: open ? output.map((item) => ({ ...item, status: 'in_progress' as const })) : output,
  });
}

export const metaOf = (r: StoredResponse): ResponseMeta => ({
  id: r.id,
  model: r.model,
  created: r.created,
  echo: r.echo ?? {},
});

/** How its text is read. One that is items alone has none. */
export const formOf = (r: StoredResponse): TextOptions => r.request ?? NO_TEXT;
const NO_TEXT: TextOptions = { tools: [], toolChoice: { mode: 'none' }, parallelToolCalls: false, responseFormat: { type: 'text' } };

/** Everything but the output. */
export const stateOf = (r: StoredResponse) => ({
  status: r.status as ResponseStatus,
  completed: r.completed ?? undefined,
  error: (r.error as ErrorEnvelope['error'] | null) ?? undefined,
  usage: r.status === 'queued' || r.status === 'in_progress' ? undefined : r.usage,
  extra: turnstone(r),
});

/** `recomputed`: the model is another one than at the previous turn, its pages could not be used. */
function turnstone(r: StoredResponse): { turnstone: Record<string, unknown> } | undefined {
  const said = {
    ...(r.recomputed && { recomputed: true }),
    ...(r.route && { route: r.route }),
    ...(r.timings && { timings: r.timings }),
    ...(r.cost && { cost: r.cost }),
    ...(r.notEnforced && { not_enforced: r.notEnforced }),
  };
  return Object.keys(said).length > 0 ? { turnstone: said } : undefined;
}
