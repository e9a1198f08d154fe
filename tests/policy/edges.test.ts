/** Every setting at both its bounds and beyond them, what money is counted from, and what the books remember and forget. */
import { describe, expect, it } from 'vitest';
import { MAX_LINKS } from '../../policy/chains.ts';
import { POLICY } from '../../policy/config.ts';
import { costOf, PRICES, WORKERS_AI } from '../../policy/cost.ts';
import { faultOfKeys, keysIn, namedKeysIn } from '../../policy/keys.ts';
import { Ledger } from '../../policy/ledger.ts';
import { Queue } from '../../policy/queue.ts';
import {
  aliasesIn,
  DEPLOYED,
  faultsIn,
  faultsOfWorker,
  isOn,
  misspelt,
  parseSetting,
  readChoice,
  readNumber,
  readText,
  SETTINGS,
  type Setting,
} from '../../policy/settings.ts';
import type { AdmitRequest, Ticket } from '../../policy/ticket.ts';

const ALL = { ...SETTINGS, ...DEPLOYED } as Record<string, Setting>;
const parse = (name: string, value: string | undefined) => parseSetting(name as keyof typeof SETTINGS, value);
const told = (name: string, value: string): string => {
  try {
    parse(name, value);
  } catch (error) {
    return (error as Error).message;
  }
  return '';
};

describe('a setting', () => {
  it('that is a number is taken at both its bounds, refused beyond them and between two of what is whole', () => {
    for (const [name, s] of Object.entries(ALL)) {
      if (s.kind !== 'number') continue;
      for (const n of [s.lo, s.hi]) expect(parse(name, ` ${n} `), name).toBe(n);
      const kind = s.whole ? 'an integer' : 'a number';
      const beyond = [s.lo - (s.whole ? 1 : 0.01), s.hi + 1, Number.NaN, Number.POSITIVE_INFINITY, 'x', ...(s.whole ? [s.lo + 0.5] : [])];
      for (const v of beyond) expect(told(name, String(v)), name).toBe(`${name} is "${v}", must be ${kind} in ${s.lo}..${s.hi}`);
      if (!s.whole) expect(parse(name, String((s.lo + s.hi) / 2)), name).toBe((s.lo + s.hi) / 2);
    }
  });

  it('that is a choice is one of them', () => {
    for (const [name, s] of Object.entries(ALL)) {
      if (s.kind !== 'choice') continue;
      for (const v of s.of) expect(parse(name, v)).toBe(v);
      expect(told(name, 'other')).toBe(`${name} is "other", must be ${s.of.slice(0, -1).join(', ')} or ${s.of.at(-1)}`);
    }
  });

  it.each<[name: string, good: string[], bad: string[], why: string]>([
    ['ALIASES', ['a=b', ' a = b ,c=d', 'a=b,'], ['a', 'a=', '=b', 'a=b=c'], 'must be pairs such as gpt-4o-mini=smollm2, comma-separated'],
    ['ADAPTERS', ['a=./b'], ['a', ' =b'], 'must be pairs such as orders=./adapter, comma-separated'],
    [
      'REGION',
      ['wnam', 'enam', 'sam', 'weur', 'eeur', 'apac', 'oc', 'afr', 'me'],
      ['eu'],
      'must be one of wnam, enam, sam, weur, eeur, apac, oc, afr, me',
    ],
    ['JURISDICTION', ['eu', 'fedramp'], ['us'], 'must be one of eu, fedramp'],
    [
      'CORS_ORIGINS',
      ['*', 'http://a', 'https://a.b:80', ' * , https://a '],
      ['', 'a', 'https://a/', 'xhttps://a', 'https://a b', 'https://u@a', 'https://a,', 'https://a?x', 'https://a#x'].slice(1),
      'must be origins such as https://example.org, or *',
    ],
    [
      'NPU_URL',
      ['http://a:1', 'https://a/', 'http://a'],
      ['http://a/b', 'http://', 'ftp://a', 'http://a//'],
      'must be an origin such as http://127.0.0.1:8790',
    ],
    ['NPU_NUMERICS', ['a', 'webgpu-1', 'x'.repeat(32)], ['x'.repeat(33), 'A', 'a b', '-a_'], 'must be a numerics id such as webgpu-1'],
    [
      'OTEL_EXPORTER_OTLP_ENDPOINT',
      ['http://a', 'https://a:1/b/c'],
      ['a', 'xhttp://a', 'http://a?b', 'http://a#b', 'http://u@a', 'http://a b', 'http://'],
      'must be an address such as http://127.0.0.1:4318',
    ],
  ])('%s is checked', (name, good, bad, why) => {
    for (const v of good) expect(parse(name, v), v).toBe(v);
    for (const v of bad) expect(told(name, v), v).toBe(`${name} is "${v}", ${why}`);
  });

  it('that is a secret is never quoted', () => {
    expect(parse('OTEL_EXPORTER_OTLP_HEADERS', ' a-b = c, d=')).toBe(' a-b = c, d=');
    for (const v of ['a', '=b', 'a=b,c', 'a b=c', 'a=b\nc', 'x;a=b'])
      expect(told('OTEL_EXPORTER_OTLP_HEADERS', v)).toBe(
        'OTEL_EXPORTER_OTLP_HEADERS must be pairs such as authorization=Bearer%20key, comma-separated',
      );
    expect(parse('ADMIN_KEY', '12345678')).toBe('12345678');
    for (const v of ['1234567', ' 1234567 ', '', ' ']) expect(told('ADMIN_KEY', v)).toBe('ADMIN_KEY must have 8 characters or more');
    expect(told('NPU_URL', `x${'y'.repeat(200)}`)).toBe(`NPU_URL is "x${'y'.repeat(99)}", must be an origin such as http://127.0.0.1:8790`);
  });

  it('that is not set is what it is otherwise', () => {
    expect([parse('PORT', undefined), parse('PORT', ''), parse('PORT', ' '), parse('KV', ' '), parse('HOST', ' ')]).toEqual(
      Array(5).fill(undefined),
    );
    expect([readNumber('PORT', {}), readNumber('PORT', { PORT: '1' }), readNumber('MODELS_MB', {})]).toEqual([8787, 1, undefined]);
    expect([readChoice('KV', {}), readChoice('KV', { KV: 'f32' }), readText('HOST', {}), readText('HOST', { HOST: 'x' })]).toEqual([
      'i8',
      'f32',
      undefined,
      'x',
    ]);
    expect([isOn('PUBLIC', {}), isOn('PUBLIC', { PUBLIC: '0' }), isOn('PUBLIC', { PUBLIC: '1' }), isOn('SPECULATE', {})]).toEqual([
      false,
      false,
      true,
      true,
    ]);
    expect([...(aliasesIn(undefined) ?? [])]).toEqual([]);
    expect([...(aliasesIn(' a = b ,, c=d,') ?? [])]).toEqual([
      ['a', 'b'],
      ['c', 'd'],
    ]);
    expect([aliasesIn('a'), aliasesIn('a= ')]).toEqual([undefined, undefined]);
  });

  it("that is wrong is found: all of them, in a Worker only its own, and there no binding that has a variable's name", () => {
    const wrong = { PORT: 'x', KV: 'x', MAX_QUEUE: '-1', NPU_CHIPS: '0', OTHER: 'x', toString: 'x' };
    expect(faultsIn(wrong).map((f) => f.split(' ')[0])).toEqual(['PORT', 'KV', 'MAX_QUEUE', 'NPU_CHIPS']);
    expect(faultsOfWorker({ ...wrong, LEASE_S: 5, CELLS: {} }).map((f) => f.split(' ')[0])).toEqual(['KV', 'MAX_QUEUE', 'NPU_CHIPS']);
    expect(faultsIn({})).toEqual([]);
  });

  it('that is misspelt is known by one slip, two in a long name, and in a short one only by its own letters', () => {
    const meant = (name: string) => misspelt([name])[0]?.meant;
    const cases: [string, string | undefined][] = [
      ['PROT', 'PORT'], // a swap
      ['POTR', 'PORT'],
      ['PORTS', undefined], // of the shorter four letters: only a swap
      ['POR', undefined],
      ['PORS', undefined],
      ['TORP', undefined],
      ['MODLE', 'MODEL'],
      ['MODE', undefined],
      ['MODELL', 'MODEL'],
      ['XMODEL', 'MODEL'],
      ['MUDEL', 'MODEL'],
      ['MUDLE', undefined], // two slips in a name of five
      ['CONTXT', 'CONTEXT'],
      ['CONTXTT', undefined],
      ['CONTEXTXX', undefined],
      ['REPLICSA', 'REPLICAS'],
      ['REPLXCSA', undefined], // two in eight letters
      ['MAX_QUEEU', 'MAX_QUEUE'],
      ['MAX_QXEEU', 'MAX_QUEUE'], // two in nine
      ['MXX_QXEEU', undefined],
      ['MEMORY_BM', 'MEMORY_MB'],
      ['MODLE1', undefined],
      ['1MODEL', undefined],
      ['modle', undefined],
      ['MODEL-', undefined],
    ];
    expect(cases.map(([name]) => [name, meant(name)])).toEqual(cases);
    expect(misspelt(['MODLE', 'PATH', 'PROT'])).toEqual([
      { name: 'MODLE', meant: 'MODEL' },
      { name: 'PROT', meant: 'PORT' },
    ]);
  });
});

describe('keys', () => {
  it.each<[string, ReturnType<typeof namedKeysIn>]>([
    ['12345678', [{ name: undefined, key: '12345678' }]],
    [
      ' a:12345678 ,, b : abcdefgh',
      [
        { name: 'a', key: '12345678' },
        { name: 'b', key: ' abcdefgh' },
      ],
    ],
    [':12345678', [{ name: undefined, key: '12345678' }]],
    ['a:1234:678', [{ name: 'a', key: '1234:678' }]],
  ])('%j', (secret, wanted) => {
    expect(namedKeysIn(secret)).toEqual(wanted);
    expect(keysIn(secret)).toEqual(wanted.map((k) => k.key));
    expect(faultOfKeys(secret)).toBe(undefined);
  });

  it('that are wrong are told how', () => {
    expect(keysIn(undefined)).toEqual([]);
    for (const none of ['', ' ', ',', ' , ']) expect(faultOfKeys(none)).toBe('is set but holds no key; give it one, or unset it');
    for (const short of ['1234567', '12345678,a:1234567']) expect(faultOfKeys(short)).toBe('has a key of fewer than 8 characters');
    expect(faultOfKeys('12345678,a:12345678')).toBe('has one key twice; whose it is would not be clear');
    expect(() => namedKeysIn('')).toThrow('API_KEYS is set but holds no key');
  });
});

it('a model costs its isolates by the hour, the calls between them by the step, and its pack by the month', () => {
  const { hour, thousandSteps, month } = costOf({ isolates: 5, packBytes: 2e9 });
  expect(hour).toBeCloseTo(5 * 0.128 * 3600 * 12.5e-6, 12);
  expect(thousandSteps).toBeCloseTo(4 * 3 * 1000 * 0.15e-6, 12);
  expect(month).toBeCloseTo(2 * 0.015, 12);
  expect(costOf({ isolates: 1, packBytes: 0 })).toEqual({ hour: expect.any(Number), thousandSteps: 0, month: 0 });
  expect(PRICES).toEqual({
    gigabyteSecond: 12.5e-6,
    objectRequest: 0.15e-6,
    workerRequest: 0.3e-6,
    rowWritten: 1e-6,
    storedGigabyte: 0.015,
  });
  expect(WORKERS_AI).toEqual({ input: 0.027, output: 0.201 });
});

describe('the books', () => {
  const ask = (id: string, more: Partial<AdmitRequest> = {}): AdmitRequest => ({
    ...{ id, tenant: 't', priority: 0, promptTokens: 4, chain: [], restart: false },
    ...more,
  });
  const nothing = () => {};

  it('keep the last links of a long chain, and no more', () => {
    const queue = new Queue(POLICY, ['0']);
    const chain = Array.from({ length: MAX_LINKS + 3 }, (_, i) => ({ hash: `h${i}`, tokens: i }));
    queue.arrive(ask('a', { chain }), 0, nothing);
    expect(queue.ledger.tickets.get('a')?.chain).toEqual(chain.slice(3));
    queue.arrive(ask('b', { chain: chain.slice(0, MAX_LINKS) }), 0, nothing);
    expect(queue.ledger.tickets.get('b')?.chain).toHaveLength(MAX_LINKS);
  });

  it('let a key have what its rate gives, over half an hour, after idle days too: its burst, then one at a time', () => {
    const queue = new Queue({ ...POLICY, ratePerMinute: 30, burst: 5 }, ['0']);
    let n = 0;
    const asked = (now: number): boolean => {
      const answer = queue.arrive(ask(`${n++}`), now, nothing);
      if (answer.kind === 'refused') expect(answer).toEqual({ kind: 'refused', reason: 'rate_limit', retryAfter: expect.any(Number) });
      queue.cancel(`${n - 1}`); // who gives a place back has had it
      return answer.kind === 'queued';
    };
    const DAY = 86_400_000;
    for (const begin of [0, DAY, 8 * DAY]) {
      let admitted = 0;
      for (let t = 0; t < 1_800_000; t += 500) {
        if (asked(begin + t)) admitted++;
        expect(admitted).toBeLessThanOrEqual(5 + t / 2_000);
        expect(admitted).toBeGreaterThanOrEqual(Math.min(1 + t / 500, 4 + t / 2_000) - 1);
      }
      expect(admitted).toBe(5 + Math.floor(1_799_500 / 2_000));
    }
    expect(queue.sound()).toBe(true);
  });

  it('remember 4,096 that were lost by silence, the newest', () => {
    const ledger = new Ledger(POLICY, ['0']);
    const lost = (i: number) => ledger.suspect({ id: `${i}` } as Ticket);
    for (let i = 0; i < 4096; i++) lost(i);
    expect([ledger.suspects.size, ledger.suspects.has('0')]).toEqual([4096, true]);
    lost(4096);
    expect([ledger.suspects.size, ledger.suspects.has('0'), ledger.suspects.has('1'), ledger.suspects.has('4096')]).toEqual([
      4096,
      false,
      true,
      true,
    ]);
  });

  it('tell who asks again where it runs', () => {
    const queue = new Queue(POLICY, ['0']);
    queue.arrive(ask('a', { sequences: 3 }), 0, nothing);
    expect(queue.arrive(ask('a'), 0, nothing)).toEqual({ kind: 'queued' });
    const [lease] = queue.dispatch(0, () => 0);
    expect(queue.arrive(ask('a'), 1, nothing)).toEqual({
      kind: 'running',
      lease: { id: 'a', replica: '0', epoch: lease?.epoch, matched: 0, slots: 3 },
    });
    expect(queue.sound()).toBe(true);
    queue.ledger.replicas.get('0')!.running++;
    expect(queue.sound()).toBe(false);
  });

  it('give a replica the time of a start until it has computed, and again when it is another', () => {
    const queue = new Queue({ ...POLICY, leaseMs: 1_000, startMs: 60_000 }, ['0']);
    const run = (id: string) => {
      queue.arrive(ask(id), 0, nothing);
      return queue.dispatch(0, () => 0)[0]!.epoch;
    };
    const beat = (now: number, incarnation: string, id: string, epoch: number, output: number, more: object = {}) => {
      queue.heartbeat('0', { incarnation, slots: 9, kvTokens: 1e6, running: [{ id, epoch, output, ...more }], done: [] }, now);
      return queue.ledger.replicas.get('0')!.deadline - now;
    };
    const a = run('a');
    expect(beat(1, 'i', 'a', a, 0)).toBe(60_000);
    expect(beat(2, 'i', 'a', a, 0, { computed: 0 })).toBe(60_000);
    expect(beat(3, 'i', 'a', a, 1)).toBe(1_000);
    expect(queue.release({ id: 'a', epoch: a, output: 1 }, 4)).toBe(true);
    const b = run('b');
    expect(beat(5, 'i', 'b', b, 0)).toBe(1_000); // it was warm already
    queue.release({ id: 'b', epoch: b, output: 0 }, 6);
    const c = run('c');
    expect(beat(7, 'j', 'c', c, 0)).toBe(60_000);
    expect(beat(8, 'j', 'c', c, 0, { computed: 2 })).toBe(1_000);
  });

  it('let a place go when its caller has been away for long enough, and keep it until then', () => {
    const queue = new Queue(POLICY, []);
    queue.arrive(ask('a'), 0, nothing);
    queue.arrive(ask('b'), 0, nothing);
    expect(queue.nextDeadline()).toBe(undefined);
    queue.detachAll(10);
    expect(queue.nextDeadline()).toBe(10 + POLICY.attachMs);
    queue.arrive(ask('b'), 11, nothing);
    queue.detach('a', 500); // it was away already
    expect(queue.expire(9 + POLICY.attachMs).dropped).toEqual([]);
    expect(queue.expire(10 + POLICY.attachMs).dropped).toEqual(['a']);
    expect(queue.nextDeadline()).toBe(undefined);
    expect([queue.cancel('a'), queue.cancel('b'), queue.sound()]).toEqual([false, true, true]);
  });

  it('hold what runs in a lane for its time, and no longer', () => {
    const queue = new Queue(POLICY, []);
    queue.arrive(ask('a', { lane: 'embed' }), 5, nothing);
    expect(queue.dispatch(5, () => 0)).toEqual([{ id: 'a', replica: '', epoch: 1, matched: 0, slots: 1 }]);
    expect(queue.nextDeadline()).toBe(5 + POLICY.laneMs);
    expect(queue.expire(4 + POLICY.laneMs).lost).toEqual([]);
    expect(queue.expire(5 + POLICY.laneMs).lost).toEqual(['a']);
    expect(queue.sound()).toBe(true);
  });
});
