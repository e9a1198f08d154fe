/** A session's events as the Responses API's. */

import { ResponseEvents, storedChoice } from '../../openai/stream/response-events.ts';
import { readLines } from './ndjson.ts';
import { formOf, metaOf, stateOf } from './response-object.ts';
import type { ResponseKeeper, SessionEvent, StoredResponse } from './types.ts';

/**
 * Events numbered above `after`, the missed ones first, then the rest as it is generated. All of the text is read again from its
 * beginning, since the events' numbers follow from it; events already seen are only counted.
 */
export async function responseStream(stub: ResponseKeeper, response: StoredResponse, after: number): Promise<Response> {
  const source = await stub.fetch(`https://session/events?response=${response.id}&after=-1`);
  if (!source.ok || !source.body) throw new Error(`session: events of a response it has answered ${source.status}`);
  const frames = tell(source.body, response, after);
  const encoder = new TextEncoder();
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        for (;;) {
          const { value, done } = await frames.next();
          if (done) return controller.close();
          if (value !== '') return controller.enqueue(encoder.encode(value));
        }
      } catch (error) {
        controller.error(error);
      }
    },
    async cancel() {
      await frames.return(undefined);
    },
  });
  return new Response(body, { headers: { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-store' } });
}

async function* tell(source: ReadableStream<Uint8Array>, response: StoredResponse, after: number): AsyncGenerator<string> {
  const choice = storedChoice(formOf(response));
  const events = new ResponseEvents(metaOf(response), after);
  yield events.open();
  for await (const line of readLines(source)) {
    const event = JSON.parse(line) as SessionEvent;
    if ('seq' in event) yield events.push(choice.push(event.text), event.logprobs);
    else {
      const status = event.end as 'completed' | 'incomplete' | 'failed' | 'cancelled';
      yield events.push(choice.finish()) + events.close({ ...stateOf(event.response), status });
      return;
    }
  }
  // The session closed its readers without an end: the response was deleted.
  const error = { message: 'The response was deleted.', type: 'server_error' as const, param: null, code: null };
  yield events.close({ status: 'failed', error });
}
