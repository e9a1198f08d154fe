import { samplingFields } from '../../openai/requests/sampling.ts';
import type { Runtime } from './runtime.ts';

/** A model as `GET /v1/models` lists it. */
export const modelObject = (rt: Runtime) => ({
  id: rt.served.id,
  object: 'model',
  created: 0,
  owned_by: 'turnstone',
  max_model_len: rt.engine.plan.context,
  /** What stands in for each that a request leaves out. */
  sampling_defaults: samplingFields(rt.served.sampling),
});

/** Engine counters become Prometheus' at scrape time. */
export function renderMetrics({ engine, metrics: m, npu }: Runtime): string {
  npu?.show();
  const s = engine.stats();
  m.running.set(s.running);
  m.waiting.set(s.waiting);
  m.kvUsage.set(s.pages.referenced / s.pages.total);
  m.promptTokens.total(s.tokens.prompt);
  m.generationTokens.total(s.tokens.generated);
  m.prefixQueries.total(s.prefix.queried);
  m.prefixHits.total(s.prefix.hit);
  m.preemptions.total(s.preemptions);
  return m.registry.render();
}
