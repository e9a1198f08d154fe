import { ChainCache } from './chains.ts';
import type { PolicyConfig } from './config.ts';
import { Queue } from './queue.ts';
import { newReplica, type Replica, type ReplicaRecord } from './replicas.ts';
import type { Service } from './service.ts';
import { type Tenant, Tenants } from './tenants.ts';

/** Epochs a ms: no queue gives out as many leases, so that the clock puts those after a restart above all before it, written or not. */
const EPOCHS = 1_000;
/** Where the clock went back: more than are given out between two writes. */
const UNWRITTEN = 1 << 20;

export interface Meta {
  epoch: number;
  floor: number;
  service: Service;
}

/** What is stored of a key, and of a replica: what no ticket says. */
export type Account = Omit<Tenant, 'waiting' | 'running' | 'brief'>;
export type Known = Omit<ReplicaRecord, 'running' | 'kvUsed' | 'backlog' | 'deadline' | 'absent'>;

/** What must survive of a queue, as plain data: keys' accounts, what is known of replicas, the clock of leases. Chains are a guess. No ticket is among it. */
export interface Saved {
  meta?: Meta;
  tenants: Account[];
  replicas: Known[];
  chains: Record<string, [string, number][]>;
}

export const accountOf = ({ waiting: _, running: __, brief: ___, ...account }: Tenant): Account => account;

export function knownOf({ chains: _, running: __, kvUsed: ___, backlog: ____, deadline: _____, absent: ______, ...known }: Replica): Known {
  return known;
}

export const metaOf = (q: Queue): Meta => ({ epoch: q.ledger.epoch, floor: q.ledger.tenants.floor, service: q.ledger.service });

export function save(q: Queue): Saved {
  const L = q.ledger;
  const chains: Saved['chains'] = {};
  for (const r of L.replicas.values()) chains[r.id] = r.chains.save();
  return {
    meta: metaOf(q),
    tenants: [...L.tenants.all.values()].map(accountOf),
    replicas: [...L.replicas.values()].map(knownOf),
    chains,
  };
}

/**
 * A queue from plain data, or a new one from none. It begins without tickets, above all leases before it: what runs is booked as its
 * replica tells of it, who waited asks again. Replicas that `ids` does not name are forgotten. Throws when the data is no queue's.
 */
export function load(config: PolicyConfig, ids: readonly string[], saved: Saved, now: number): Queue {
  const q = new Queue(config, ids);
  const L = q.ledger;
  check(saved, config);
  if (saved.meta) {
    L.tenants.floor = saved.meta.floor;
    L.service = saved.meta.service;
  }
  const written = saved.meta?.epoch ?? 0;
  L.epoch = written < now * EPOCHS ? now * EPOCHS : written + UNWRITTEN;
  L.base = L.epoch;
  L.began = now;
  for (const t of saved.tenants) L.tenants.all.set(t.name, { ...t, waiting: 0, running: 0, brief: 0 });
  for (const r of saved.replicas) {
    if (!ids.includes(r.id)) continue;
    L.replicas.set(r.id, { ...newReplica(r.id, config), ...r, chains: new ChainCache(r.kvTokens, saved.chains[r.id]) });
  }
  return q;
}

function check({ meta, tenants, replicas, chains }: Saved, config: PolicyConfig): void {
  const fits = (what: string, values: readonly unknown[], sample: unknown) => {
    for (const value of values) if (!like(value, sample)) throw new Error(`${what}: ${JSON.stringify(value)?.slice(0, 200)} is none`);
  };
  fits('state of the queue', meta ? [meta] : [], metaOf(new Queue(config, [])));
  fits('tenant', tenants, accountOf(new Tenants().get('', 0, 0)));
  fits('replica', replicas, knownOf(newReplica('', config)));
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
