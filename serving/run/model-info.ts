import { samplingFields } from '../../openai/requests/sampling.ts';
import type { Runtime } from './runtime.ts';

/** A model as `GET /v1/models` lists it. */
export const modelObject = (rt: Runtime) => ({
  id: rt.served.id,
  object: 'model',
  created: 0,
  owned_by: 'turnstone',
  digest: rt.served.digest,
  family: rt.served.config.family,
  max_model_len: rt.engine.plan.context,
  /** What stands in for each that a request leaves out. */
  sampling_defaults: samplingFields(rt.served.sampling),
});

/** Its adapters, each a model by the name that a request gives. */
export async function adapterObjects({ served, engine, adapters }: Runtime) {
  return ((await adapters?.list()) ?? []).map(({ name, created, bytes, loaded }) => ({
    ...{ id: `${served.id}:${name}`, object: 'model', created, owned_by: 'turnstone', parent: served.id, bytes },
    ...{ state: loaded ? 'loaded' : 'cold', max_model_len: engine.plan.context },
  }));
}

/** Engine counters become Prometheus' at scrape time. */
export function renderMetrics({ engine, metrics: m, npu }: Runtime): string {
  npu?.updateMetrics();
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
