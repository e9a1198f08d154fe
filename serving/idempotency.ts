/**
 * `Idempotency-Key`: a client's own name of its request. A stored response is begun once under it (durable-objects/session/api.ts). What
 * is not stored is computed again, with the same seed, and so with the same tokens.
 */
import { sha256 } from '@noble/hashes/sha2.js';
import { utf8ToBytes } from '@noble/hashes/utils.js';
import { badRequest } from '../openai/errors.ts';
import type { GenerationRequest } from '../openai/requests/types.ts';

/** The request's key, if it has one. Throws 400. */
export function idempotencyKey(request: Request): string | undefined {
  const key = request.headers.get('idempotency-key');
  if (key === null) return undefined;
  if (!/^[\x21-\x7e]{1,255}$/.test(key)) {
    throw badRequest("The header 'Idempotency-Key' must have 1 to 255 visible ASCII characters.", undefined, 'invalid_idempotency_key');
  }
  return key;
}

/** The request with a seed that follows from tenant and key, where the client gave none. */
export function seeded<T extends GenerationRequest>(request: T, tenant: string, key: string | undefined): T {
  if (key === undefined || request.sampling.seed !== undefined) return request;
  const digest = new DataView(sha256(utf8ToBytes(JSON.stringify(['turnstone idempotency', tenant, key]))).buffer);
  return { ...request, sampling: { ...request.sampling, seed: [digest.getUint32(0), digest.getUint32(4)] } };
}
