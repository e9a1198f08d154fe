/**
 * The models of a deployment, by name. The first is the one that the server was started with; each of the others has a queue and
 * replicas of its own under its name. On Cloudflare they are packs in R2, and an object loads the one that it is named after; on
 * one's own machine the launcher keeps each in a process, which it starts when the model is asked for.
 */
import { ApiError, type ErrorEnvelope, modelNotFound } from '../openai/errors.ts';
import type { Variables } from '../policy/settings.ts';
import { aliasesIn } from '../policy/settings.ts';
import type { Host } from './host.ts';

/** How the first model is known to an object. */
export type FirstModel = Pick<Variables, 'MODEL_ID' | 'FIRST_MODEL'>;

/** Who knows and loads the models. */
export interface Models extends Pick<Host, 'launcher'> {
  vars: Pick<Variables, 'MODEL_ID' | 'FIRST_MODEL' | 'MODELS' | 'ALIASES'>;
}

/** A model of this server in `GET /v1/models`, beside what its replica says. */
export interface ModelEntry {
  id: string;
  object: 'model';
  created: number; // s
  owned_by: string;
  kind: 'chat';
  state: 'loaded' | 'loading' | 'cold';
  /** Of its file, where it is known. */
  bytes?: number;
  about?: string;
  max_model_len?: number;
  /** Of an adapter: the model that it belongs to. */
  parent?: string;
}

/**
 * The model that `base:adapter` is an adapter of; a model's own name is itself. A model that is called by its place at the hub has colons in
 * its name: its adapters are there when it is the first.
 */
export function baseOf({ FIRST_MODEL, MODEL_ID }: FirstModel, model: string): string {
  const first = FIRST_MODEL ?? MODEL_ID;
  if (first !== undefined && (model === first || model.startsWith(`${first}:`))) return first;
  return model.startsWith('hf:') ? model : model.split(':')[0];
}

/** Whether it is the first model, or an adapter of it. */
export const isFirst = (vars: FirstModel, model: string | undefined): boolean => {
  const first = vars.FIRST_MODEL ?? vars.MODEL_ID;
  return model === undefined || first === undefined || baseOf(vars, model) === first;
};

const named = (list = ''): string[] =>
  list
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');

/**
 * The model that a request means by `asked`, '' for the first one. Throws 404 when there is none of that name. The answer is as
 * asked where nobody said what is served.
 */
export function modelNamed({ vars, launcher }: Models, asked: string): string {
  const { MODEL_ID, MODELS, ALIASES } = vars;
  const name = unaliased(aliasesIn(ALIASES), asked);
  if (MODEL_ID === undefined || launcher) return name || (MODEL_ID ?? '');
  if (name === '' || isFirst(vars, name)) return name || MODEL_ID;
  const others = named(MODELS);
  if (others.includes(baseOf(vars, name))) return name;
  throw modelNotFound(asked, [MODEL_ID, ...others]);
}

/** What an alias stands for: of the whole name, or of the model before an adapter's. */
function unaliased(aliases: ReadonlyMap<string, string> | undefined, asked: string): string {
  const colon = asked.indexOf(':');
  const base = colon > 0 ? aliases?.get(asked.slice(0, colon)) : undefined;
  return aliases?.get(asked) ?? (base === undefined ? asked : base + asked.slice(colon));
}

/** A request by a client, which counts. */
export interface Asked {
  keepAliveMs?: number;
}

/** Waits until the model is loaded where somebody loads models. Throws 404 when there is none of that name, and 503 with the arithmetic when it does not fit. */
export async function loadModel({ vars, launcher }: Models, model: string | undefined, asked?: Asked): Promise<void> {
  if (model === undefined || isFirst(vars, model) || !launcher) return;
  const headers = { 'content-type': 'application/json' };
  const body = JSON.stringify({ model: baseOf(vars, model), asked });
  const answer = await launcher.fetch('http://launcher/load', { method: 'POST', headers, body });
  if (answer.ok) return;
  const { error } = (await answer.json()) as ErrorEnvelope;
  const retry = answer.headers.get('retry-after');
  throw new ApiError(answer.status, error.message, {
    type: error.type,
    code: error.code ?? undefined,
    param: error.param ?? undefined,
    headers: retry === null ? undefined : { 'retry-after': retry },
  });
}

/** Models whose queues and replicas there are now, the first one's as undefined. */
export async function modelNames(host: Models): Promise<(string | undefined)[]> {
  const others = await otherModels(host);
  return [undefined, ...others.filter((m) => !host.launcher || m.state === 'loaded').map((m) => m.id)];
}

/** Models beside the first. */
export async function otherModels({ vars, launcher }: Models): Promise<ModelEntry[]> {
  if (launcher) {
    const answer = await launcher.fetch('http://launcher/models');
    return answer.ok ? ((await answer.json()) as { data: ModelEntry[] }).data : [];
  }
  const cold = { object: 'model', created: 0, owned_by: 'turnstone', kind: 'chat', state: 'cold' } as const;
  return named(vars.MODELS).map((id) => ({ id, ...cold }));
}
