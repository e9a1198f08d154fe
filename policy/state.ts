import { ChainCache } from './chains.ts';
import type { PolicyConfig } from './config.ts';
import { Queue } from './queue.ts';
import { newReplica, type ReplicaRecord, record } from './replicas.ts';
import type { Service } from './service.ts';
import type { Tenant } from './tenants.ts';
import type { Ticket } from './ticket.ts';

export interface Meta {
  epoch: number;
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

export const metaOf = (q: Queue): Meta => ({ epoch: q.ledger.epoch, floor: q.ledger.tenants.floor, service: q.ledger.service });

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
 * is no longer in `ids` drains. Callers' connections are gone, so what waits is detached from `now` on.
 */
export function load(config: PolicyConfig, ids: readonly string[], saved: Saved, now: number): Queue {
  const q = new Queue(config, ids);
  const L = q.ledger;
  if (saved.meta) {
    L.epoch = saved.meta.epoch;
    L.tenants.floor = saved.meta.floor;
    L.service = saved.meta.service;
  }
  for (const t of saved.tenants) L.tenants.all.set(t.name, t);
  for (const r of saved.replicas) {
    if (!ids.includes(r.id) && r.running === 0) continue;
    const chains = new ChainCache(r.kvTokens, saved.chains[r.id]);
    L.replicas.set(r.id, { ...newReplica(r.id, config), ...r, draining: r.draining || !ids.includes(r.id), absent: false, chains });
  }
  q.restore(saved.tickets, now);
  return q;
}
