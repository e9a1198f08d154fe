import { ChainCache } from './chains.ts';
import type { PolicyConfig } from './config.ts';
import { Queue } from './queue.ts';
import { newReplica, type ReplicaRecord, record } from './replicas.ts';
import type { Service } from './service.ts';
import { type Tenant, Tenants } from './tenants.ts';
import type { Ticket } from './ticket.ts';

export interface Meta {
  epoch: number;
  base: number;
  floor: number;
  service: Service;
}

/** All of a queue as plain data. Chains are a guess: a caller may keep them more rarely, or not at all. */
export interface Saved {
  meta?: Meta;
  tickets: Ticket[];
  tenants: Tenant[];
  replicas: ReplicaRecord[];
  chains: Record<string, [string, number][]>;
}

export const metaOf = (q: Queue): Meta => ({
  epoch: q.ledger.epoch,
  base: q.ledger.base,
  floor: q.ledger.tenants.floor,
  service: q.ledger.service,
});

export function save(q: Queue): Saved {
  const L = q.ledger;
  const chains: Saved['chains'] = {};
  for (const r of L.replicas.values()) chains[r.id] = r.chains.save();
  return {
    meta: metaOf(q),
    tickets: [...L.tickets.values()],
    tenants: [...L.tenants.all.values()],
    replicas: [...L.replicas.values()].map(record),
    chains,
  };
}

/**
 * A queue from plain data, which it takes over. Replicas named in neither the data nor `ids` do not exist; one that
 * is no longer in `ids` drains. Callers' connections are gone, so what waits is detached from `now` on. Throws when the data is no
 * queue's: a field is missing or of another type, or the counts are not those of the tickets.
 */
export function load(config: PolicyConfig, ids: readonly string[], saved: Saved, now: number): Queue {
  const q = new Queue(config, ids);
  const L = q.ledger;
  check(saved, config);
  if (saved.meta) {
    L.epoch = saved.meta.epoch;
    L.base = saved.meta.base;
    L.tenants.floor = saved.meta.floor;
    L.service = saved.meta.service;
  }
  for (const t of saved.tenants) L.tenants.all.set(t.name, t);
  for (const r of saved.replicas) {
    if (!ids.includes(r.id) && r.running === 0) continue;
    const chains = new ChainCache(r.kvTokens, saved.chains[r.id]);
    const draining = r.draining || !ids.includes(r.id);
    const deadline = r.running > 0 ? Math.max(r.deadline, now + config.leaseMs) : r.deadline; // it could not be heard meanwhile
    L.replicas.set(r.id, { ...newReplica(r.id, config), ...r, deadline, draining, absent: false, chains });
  }
  q.restore(saved.tickets, now);
  L.audit();
  return q;
}

const SAMPLE: Ticket = {
  ...{ id: '', tenant: '', priority: 0, promptTokens: 0, chain: [], restart: false },
  ...{ state: 'waiting', arrived: 0, attached: false, detachedAt: 0, replica: '', epoch: 0, dispatched: 0 },
  ...{ confirmed: false, backlog: 0, slots: 1, output: 0, charged: 0 },
};

function check({ meta, tickets, tenants, replicas, chains }: Saved, config: PolicyConfig): void {
  const fits = (what: string, values: readonly unknown[], sample: unknown) => {
    for (const value of values) if (!like(value, sample)) throw new Error(`${what}: ${JSON.stringify(value)?.slice(0, 200)} is none`);
  };
  fits('state of the queue', meta ? [meta] : [], metaOf(new Queue(config, [])));
  fits('ticket', tickets, SAMPLE);
  fits('tenant', tenants, new Tenants().get('', 0, 0));
  fits('replica', replicas, record(newReplica('', config)));
  fits('chains', Object.values(chains), []);
}

/** Has at least the sample's fields, of its types, and finite numbers in them. */
function like(value: unknown, sample: unknown): boolean {
  if (Array.isArray(sample)) return Array.isArray(value);
  if (typeof sample !== 'object' || sample === null)
    return typeof value === typeof sample && (typeof value !== 'number' || Number.isFinite(value));
  if (typeof value !== 'object' || value === null) return false;
  return Object.entries(sample).every(([key, s]) => like((value as Record<string, unknown>)[key], s));
}
