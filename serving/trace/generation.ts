/** What a replica tells of a generation: prefill, decode, and the calls of its stages. Never what was said. */
import type { Timings } from '../run/latency.ts';
import type { Runtime } from '../run/runtime.ts';

export interface Generated {
  /** Of its first sequence; undefined: it had no token. */
  timings: Timings | undefined;
  /** Tokens. */
  input: number;
  output: number;
  attributes?: Record<string, string | number | undefined>;
}

/** Begins to watch; the result tells, once the generation has ended. Undefined: nobody traces this request. */
export function watchGeneration(rt: Runtime, given: string | null, arrived: number): ((g: Generated) => void) | undefined {
  const trace = rt.trace?.open(given);
  if (!trace) return undefined;
  const span = trace.span('generate', 'server', arrived);
  const hops = rt.hops?.watch(span.traceparent);
  return ({ timings, input, output, attributes }) => {
    const ended = Date.now();
    span.set({
      'gen_ai.operation.name': 'chat',
      'gen_ai.response.model': rt.served.id,
      'gen_ai.usage.input_tokens': input,
      'gen_ai.usage.output_tokens': output,
      ...attributes,
    });
    const first = timings && arrived + timings.prefill_ms;
    span
      .child('prefill', 'internal', arrived)
      .set({ 'turnstone.tokens': timings?.prefill_tokens })
      .end(first ?? ended, first === undefined ? 'it ended before its first token' : undefined);
    if (timings && first !== undefined)
      span
        .child('decode', 'internal', first)
        .set({ 'turnstone.tokens': timings.decode_tokens })
        .end(first + timings.decode_ms);
    for (const { stage, calls, ms, start, end } of hops?.() ?? [])
      span.child(stage, 'client', start).set({ 'turnstone.calls': calls, 'turnstone.ms': ms }).end(end);
    span.end(ended);
    rt.trace?.later(trace.send());
  };
}
