/** Turns in a Session's SQLite. */
import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { TurnStore } from '../../durable-objects/session/turns.ts';
import { turnCases } from '../responses/turn-cases.ts';

let next = 0;
turnCases((work) =>
  runInDurableObject(env.SESSION.get(env.SESSION.idFromName(`turns ${next++}`)) as never, (_, state) =>
    work(new TurnStore(state.storage.sql)),
  ),
);
