import { ModelFileError } from '../../models/error.ts';
import { MANIFEST } from '../../models/pack/manifest.ts';
import { type PackSource, r2Pack, urlPack } from '../../models/pack/source.ts';
import type { ReplicaEnv } from '../env.ts';

/** Where this deployment keeps the model's pack: the R2 bucket if it is there, else the static assets. Rejects naming both. */
export async function packSource(env: ReplicaEnv): Promise<PackSource> {
  const { PACKS, ASSETS, MODEL_ID: id } = env;
  if (PACKS && (await PACKS.head(`${id}/${MANIFEST}`)))
    return r2Pack({ get: (key, o) => PACKS.get(key, o as R2GetOptions) as Promise<R2ObjectBody | null> }, `${id}/`);
  const url = `https://assets.local/packs/${id}/`;
  if (ASSETS && (await ASSETS.fetch(url + MANIFEST, { method: 'HEAD' })).ok) {
    return urlPack(url, (u, init) => ASSETS.fetch(u, init) as unknown as Promise<Response>);
  }
  throw new ModelFileError(`model "${id}"`, `is neither in the R2 bucket (${id}/${MANIFEST}) nor in the assets (/packs/${id}/${MANIFEST})`);
}
