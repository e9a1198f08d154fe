/** Where an object lives: near REGION when it is first asked for, never outside JURISDICTION. */
import type { Variables } from '../policy/settings.ts';

/** REGION: a location hint (developers.cloudflare.com/durable-objects/reference/data-location). JURISDICTION: other ids than without, so that what is stored does not move. */
export type PlaceVars = Pick<Variables, 'REGION' | 'JURISDICTION'>;

/** The object of that name. A stub of its own for every call. */
export function objectNamed(namespace: DurableObjectNamespace, name: string, { REGION, JURISDICTION }: PlaceVars): DurableObjectStub {
  const there = JURISDICTION ? namespace.jurisdiction(JURISDICTION as DurableObjectJurisdiction) : namespace;
  return there.get(there.idFromName(name), REGION ? { locationHint: REGION as DurableObjectLocationHint } : undefined);
}
