import type { Erased } from '../../serving/host.ts';
import { objectNamed, type PlaceVars } from '../place.ts';
import { stubAs } from '../stub.ts';

/** A tenant's list of its sessions, as its callers see it. */
export interface TenantPort {
  add(session: string): Promise<void>;
  remove(session: string): Promise<void>;
  count(): Promise<number>;
  erase(): Promise<Erased>;
}

export function listOf(env: { TENANT: DurableObjectNamespace } & PlaceVars, tenant: string): TenantPort {
  return stubAs(objectNamed(env.TENANT, tenant, env));
}
