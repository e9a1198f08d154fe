/**
 * What breaks first with so many users: the real queue, placement, cells and page pool under a clock of their own.
 * `tsx bench/simulate/scale.ts` writes docs/scale.md.
 */
import { writeFileSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { cellOf, cellsFor, FILL, OBJECT_CALLS } from '../../policy/cells.ts';
import { POLICY } from '../../policy/config.ts';
import { costOf, costOfAnswer } from '../../policy/cost.ts';
import type { Speed } from './replica.ts';
import { mulberry, quantile, simulate } from './simulate.ts';
import type { TraceRequest } from './traces.ts';

/** SmolLM2-135M's shape in one isolate: 336 tokens of prompt a second, 208 out (docs/performance.md, 2 cores). */
const [PREFILL, DECODE] = [336, 208]; // tokens a second
const SPEED: Speed = { step: 5, prefill: 1000 / PREFILL, decode: 1000 / DECODE - 5 / 16, budget: 32 };
const SLOTS = 16;
/** Of an isolate that holds such a model, tokens. */
const KV_TOKENS = 8_192;
/** A user asks once in so long, in the busy hour. */
export const EVERY_S = 120;
const PROMPT = 300;
const OUTPUT = 150;
/** That such a chat computes. */
const CHAT_S = PROMPT / PREFILL + OUTPUT / DECODE;
const SECONDS = 90;
/** Of so many users that every second is a thousand requests. */
const CROWD_SECONDS = 20;
/** Share of its time that a replica is to compute. */
const BUSY = 0.7;

export interface Scale {
  users: number;
  cells: number;
  /** In all. */
  replicas: number;
  /** A second. */
  chats: number;
  /** s */
  p50: number;
  p95: number;
  /** Shares. */
  refused: number;
  busy: number;
  /** Calls in the busiest second of the busiest queue, and most that waited in one. */
  calls: number;
  waiting: number;
  /** Dollars an hour. */
  usd: number;
  /** Of each limit, how much of it is used: above 1 it is what breaks. */
  limits: Record<string, number>;
}

/** Poisson arrivals of users who each hold a key and talk in turns of PROMPT and OUTPUT tokens. */
function traffic(users: number, seconds: number, seed = 7): TraceRequest[] {
  const random = mulberry(seed);
  const list: TraceRequest[] = [];
  for (let at = 0; ; ) {
    at += (-Math.log(1 - random()) * 1000 * EVERY_S) / users;
    if (at > seconds * 1000) return list;
    const length = (mean: number) => Math.max(8, Math.round(mean * (0.25 + 1.5 * random())));
    list.push({ at, prompt: length(PROMPT), output: length(OUTPUT), blocks: [], tenant: `user-${Math.floor(random() * users)}` });
  }
}

/** Replicas that so many users take at BUSY, by what a chat computes. */
export const replicasFor = (users: number): number => Math.max(1, Math.ceil(((users / EVERY_S) * CHAT_S) / BUSY));

/** Every cell of such a server, one after the other. */
export function scale(users: number, replicas: number, cells: number, seconds = SECONDS): Scale {
  const v = { CELLS: String(cells) };
  const all = traffic(users, seconds);
  const each = Math.ceil(replicas / cells);
  const results = Array.from({ length: cells }, (_, cell) =>
    simulate(
      all.filter((r) => cellOf(r.tenant, '', v) === cell),
      { replicas: each, slots: SLOTS, kvTokens: KV_TOKENS, speed: SPEED, policy: { ...POLICY, shared: true }, load: 1 },
    ),
  );
  const ttft = results.flatMap((r) => r.ttft).sort((a, b) => a - b);
  const mean = (f: (r: (typeof results)[number]) => number) => results.reduce((n, r) => n + f(r), 0) / cells;
  const calls = Math.max(...results.flatMap((r) => r.calls.slice(0, seconds)));
  const waiting = Math.max(...results.map((r) => r.waiting));
  const refused = results.reduce((n, r) => n + r.refused, 0) / all.length;
  const computed = (all.length * CHAT_S) / (seconds * replicas);
  const chat = costOfAnswer({ computeMs: 0, isolates: 1, openMs: 3_000 });
  const perHour = (users / EVERY_S) * 3600;
  return {
    ...{ users, cells, replicas: each * cells, chats: users / EVERY_S, refused, calls, waiting },
    p50: quantile(ttft, 0.5) / 1000,
    p95: quantile(ttft, 0.95) / 1000,
    busy: mean((r) => r.utilization),
    usd: each * cells * costOf({ isolates: 1, packBytes: 0 }).hour + perHour * (chat.requests + chat.rows),
    limits: {
      "replicas' time": computed,
      "a queue's calls": calls / OBJECT_CALLS,
      'places in a queue': waiting / POLICY.maxQueue,
      'pages of KV': (SLOTS * Math.min(1, computed) * (PROMPT + OUTPUT)) / KV_TOKENS,
    },
  };
}

const first = (s: Scale): string => {
  const [name, used] = Object.entries(s.limits).sort((a, b) => b[1] - a[1])[0];
  const share = `${Math.round(100 * used)} %`;
  return used >= 1 || s.refused > 0.01 ? `**${name}**, ${share}` : `nothing; nearest: ${name}, ${share}`;
};

const row = (s: Scale): string =>
  `| ${[
    ...[s.users.toLocaleString('en-US'), s.replicas.toLocaleString('en-US'), s.cells, s.chats.toFixed(s.chats < 1 ? 2 : 0)],
    ...[s.p50.toFixed(1), s.p95.toFixed(1), `${(100 * s.refused).toFixed(1)} %`, `${Math.round(100 * s.busy)} %`, s.calls, s.waiting],
    ...[s.usd < 1 ? s.usd.toFixed(3) : s.usd.toFixed(0), first(s)],
  ].join(' | ')} |`;

function page(): string {
  const rows: Scale[] = [];
  const add = (users: number, replicas: number, cells: number) => {
    const from = performance.now();
    rows.push(scale(users, replicas, cells, users > 10_000 ? CROWD_SECONDS : SECONDS));
    console.log(`${users} users, ${replicas} replicas, ${cells} cells: ${((performance.now() - from) / 1000).toFixed(1)} s`);
  };
  for (const users of [10, 1_000, 100_000]) {
    const replicas = replicasFor(users);
    const chats = users / EVERY_S;
    // a request's own call, three heartbeats that many may share, one a replica and second
    const cells = cellsFor(4 * chats + replicas, replicas);
    if (replicas > 1 && users <= 10_000) add(users, 1, 1);
    if (cells > 1 && users <= 10_000) add(users, replicas, 1);
    add(users, replicas, cells);
  }
  return `${[
    '# What breaks first',
    '',
    `Written by \`tsx bench/simulate/scale.ts\`. ${SECONDS} s of the busy hour (${CROWD_SECONDS} s of 100,000 users): each user asks once in ${EVERY_S} s, ${PROMPT} tokens in and ${OUTPUT} out on average, and has a key of its own.`,
    `The real queue, its policies and cells (\`policy/\`) and the real page pool run under a clock of their own; only a step's time is modelled, as SmolLM2-135M's shape has it in`,
    `one isolate (${PREFILL} tokens of prompt a second, ${DECODE} out: [performance.md](performance.md)). No accelerator, no pages found: the dearest case. Nothing of the platform is simulated but`,
    `the documented ${OBJECT_CALLS.toLocaleString('en-US')} calls a second of one object.`,
    '',
    '| users | replicas | queues | chats/s | TTFT p50, s | p95, s | refused (429) | busy | calls/s, busiest queue | most that waited | dollars an hour | breaks first |',
    '| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |',
    ...rows.map(row),
    '',
    'One isolate serves ten users. From there on **computing** breaks first, then is answered by refusals with `Retry-After` and not by waits without end: replicas are what is added (`REPLICAS`),',
    `at ${costOf({ isolates: 1, packBytes: 0 }).hour.toFixed(4)} dollars an hour each while they compute. A **queue** is next: its object gets a call a request and one for each heartbeat. The rule (\`policy/cells.ts\`, \`CELLS\`): a queue for`,
    `each ${OBJECT_CALLS * FILL} calls a second and each 64 replicas. A tenant is of one cell by a consistent hash of its name, so that its limits, its fair share and its prefixes are in one place; a public server's`,
    'requests are spread one by one. Cells know nothing of each other: fairness holds within each, and one busy cell lends nothing to another. Objects are made in `REGION` and stay in `JURISDICTION`, where these are',
    'set; a deployment has one region, and another region is another deployment with a name of its own. Prompts found in pages, and an accelerator, make fewer replicas do: this table counts neither.',
    '',
    'Not simulated: the platform itself, whose limits beyond these are in [cloudflare.md](cloudflare.md); memory of isolates, which is measured (`bench/memory.ts`); the routes, which scale by themselves.',
  ].join('\n')}\n`;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  writeFileSync(fileURLToPath(new URL('../../docs/scale.md', import.meta.url)), page());
}
