/** `/metrics` of all replicas in one page. */

import type { Context } from 'hono';
import { CONTENT_TYPE, withLabel } from '../../openai/prometheus.ts';
import type { App, Host } from '../host.ts';
import { otherModels } from '../models.ts';
import { callReplica } from '../replica.ts';
import { replicaNames } from '../scheduler.ts';

/** A replica that says nothing for so long does not answer. */
const LATE_MS = 2_000;
async function late({ clock }: Host): Promise<never> {
  await clock.sleep(LATE_MS);
  throw new Error('no answer');
}

async function page(c: Context<App>, replica: string, model?: string): Promise<{ value: string; text: string }> {
  const answer = await callReplica(c, '/metrics', undefined, { model, replica, epoch: 0 });
  if (!answer.ok) throw new Error(`replica ${replica} answered ${answer.status}`);
  return { value: replica, text: await answer.text() };
}

/**
 * One replica's page as it is; of several, each sample with the label `replica`. Replicas of other models are asked where these are
 * loaded. What does not answer is left out, unless none does. Last, the launcher's: loads and unloads.
 */
export async function metrics(c: Context<App>): Promise<Response> {
  const names = replicaNames(c.env.vars);
  const { vars, launcher } = c.env;
  const others = launcher ? (await otherModels(c.env)).filter((m) => m.state === 'loaded' && m.id !== vars.MODEL_ID) : [];
  if (names.length === 1 && !launcher) return callReplica(c, '/metrics');
  const asked = await Promise.allSettled(
    [undefined, ...others].flatMap((m) => names.map((replica) => Promise.race([page(c, replica, m?.id), late(c.env)]))),
  );
  const pages = asked.flatMap((a) => (a.status === 'fulfilled' ? [a.value] : []));
  if (pages.length === 0) return callReplica(c, '/metrics');
  const beside = launcher ? await (await launcher.fetch('http://launcher/metrics')).text() : '';
  const all = pages.length === 1 ? pages[0].text : withLabel('replica', pages);
  return new Response(all + beside, { headers: { 'content-type': CONTENT_TYPE } });
}
