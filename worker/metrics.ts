/** `/metrics` of all replicas in one page. */

import type { Context } from 'hono';
import { replicaNames } from '../durable-objects/scheduler/config.ts';
import { CONTENT_TYPE, withLabel } from '../openai/prometheus.ts';
import type { App } from './env.ts';
import { callReplica } from './replica.ts';

/** One replica's page as it is; of several, each sample with the label `replica`. What does not answer is left out, unless none does. */
export async function metrics(c: Context<App>): Promise<Response> {
  const names = replicaNames(c.env);
  if (names.length === 1) return callReplica(c, '/metrics');
  const asked = await Promise.allSettled(names.map((replica) => callReplica(c, '/metrics', undefined, { replica, epoch: 0 })));
  const pages: { value: string; text: string }[] = [];
  for (const [i, answer] of asked.entries()) {
    if (answer.status === 'fulfilled' && answer.value.ok) pages.push({ value: names[i], text: await answer.value.text() });
  }
  if (pages.length === 0) return callReplica(c, '/metrics');
  return new Response(withLabel('replica', pages), { headers: { 'content-type': CONTENT_TYPE } });
}
