/** The adapter that a request asks for. */
import { badRequest, modelNotFound } from '../../openai/errors.ts';
import type { AdapterShelf, Held } from './adapters.ts';
import type { Runtime, Served } from './runtime.ts';

/**
 * What a request's `model` asks for: '' or the model's own name for the base, `base:adapter` for an adapter, which `use` is given by its own
 * name. Throws 404 when it is neither.
 */
async function adapterOf<T>(
  { served, adapters }: Runtime,
  model: string | undefined,
  use: (shelf: AdapterShelf, name: string) => Promise<T>,
) {
  if (!model || model === served.id) return undefined;
  if (!model.startsWith(`${served.id}:`)) throw modelNotFound(model, served.id);
  if (!adapters) throw badRequest(`Adapters do not run on this host: ask for '${served.id}'.`, 'model', 'adapters_unsupported');
  return use(adapters, model.slice(served.id.length + 1));
}

/** The id of the adapter that `model` names, which need not be loaded. */
export const adapterNamed = (rt: Runtime, model: string | undefined): Promise<string | undefined> =>
  adapterOf(rt, model, (shelf, name) => shelf.idOf(name));

/** `work` with the adapter that `model` names, or none. It holds it until it says otherwise; where it throws, it is let go. */
export async function withAdapter<T>(rt: Runtime, model: string | undefined, work: (held: Held | undefined) => Promise<T>): Promise<T> {
  const held = await adapterOf(rt, model, (shelf, name) => shelf.hold(name));
  try {
    return await work(held);
  } catch (error) {
    held?.release();
    throw error;
  }
}

/** Names what computes a request: weights, numerics, adapter. */
export const fingerprintOf = ({ fingerprint }: Pick<Served, 'fingerprint'>, adapter: Held | undefined): string =>
  adapter ? `${fingerprint}-lora-${adapter.id.slice(0, 12)}` : fingerprint;
