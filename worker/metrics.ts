/** `/metrics` of all replicas in one page. */

import type { Context } from 'hono';
import { replicaNames } from '../durable-objects/scheduler/config.ts';
import { CONTENT_TYPE, withLabel } from '../openai/prometheus.ts';
import type { App } from './env.ts';
import { callReplica } from './replica.ts';

/** A replica that says nothing for so long does not answer. */
const LATE_MS = 2_000;
async function late(): Promise<never> {
  await scheduler.wait(LATE_MS);
  throw new Error('no answer');
}

async function page(c: Context<App>, replica: string): Promise<{ value: string; text: string }> {
  const answer = await callReplica(c, '/metrics', undefined, { replica, epoch: 0 });
  if (!answer.ok) throw new Error(`replica ${replica} answered ${answer.status}`);
  return { value: replica, text: await answer.text() };
}

/** One replica's page as it is; of several, each sample with the label `replica`. What does not answer is left out, unless none does. */
export async function metrics(c: Context<App>): Promise<Response> {
  const names = replicaNames(c.env);
  if (names.length === 1) return callReplica(c, '/metrics');
  const asked = await Promise.allSettled(names.map((replica) => Promise.race([page(c, replica), late()])));
  const pages = asked.flatMap((a) => (a.status === 'fulfilled' ? [a.value] : []));
  if (pages.length === 0) return callReplica(c, '/metrics');
  return new Response(withLabel('replica', pages), { headers: { 'content-type': CONTENT_TYPE } });
}
