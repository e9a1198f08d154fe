/** What travels between sessions, replicas and readers: frames of pages, lines, ids. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PAGE_VERSION } from '../../engine/layout.ts';
import { PAGE_HEAD, writePageHead } from '../../pages/wire.ts';
import { digestOf, frame, frameBytes, frameHead, parseFrames, readFrames } from '../../serving/responses/frames.ts';
import {
  cacheName,
  keyedIds,
  newResponseId,
  newSessionId,
  ownSession,
  sealOf,
  sessionName,
  sessionOf,
} from '../../serving/responses/ids.ts';
import { readLines } from '../../serving/responses/ndjson.ts';
import { newTurn, tooLong } from '../../serving/responses/turns.ts';

/** A stream of bytes in pieces of those lengths, in turn. */
const pieces = (bytes: Uint8Array, lengths: readonly number[], done = () => {}): ReadableStream<Uint8Array> => {
  let [at, i] = [0, 0];
  return new ReadableStream({
    type: 'bytes',
    pull(controller) {
      if (at === bytes.length) {
        controller.close();
        controller.byobRequest?.respond(0);
        return;
      }
      const end = Math.min(bytes.length, at + lengths[i++ % lengths.length]!);
      controller.enqueue(bytes.slice(at, end));
      at = end;
    },
    cancel: done,
  });
};
const name = (n: number) => n.toString(16).padStart(64, '0');
const payload = (n: number, seed: number) => Uint8Array.from({ length: n }, (_, i) => (i * 31 + seed * 7) & 255);
const joined = (parts: Uint8Array[]) => new Uint8Array(parts.flatMap((p) => [...p]));
async function read(body: ReadableStream<Uint8Array>) {
  const got = [];
  for await (const f of readFrames(body)) got.push([f.name, [...f.payload]]);
  return got;
}

describe('frames of pages', () => {
  it('are the same from bytes and from a stream, however it is cut', async () => {
    const sizes = [1, 70, 300];
    const bytes = joined(await Promise.all(sizes.map((n, i) => frame(name(i), payload(n, i)))));
    expect(bytes.length).toBe(sizes.reduce((n, s) => n + frameBytes(s), 0));
    const wanted = sizes.map((n, i) => [name(i), [...payload(n, i)]]);
    expect((await parseFrames(bytes)).map((f) => [f.name, [...f.payload]])).toEqual(wanted);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 6 }), async (lengths) => {
        expect(await read(pieces(bytes, lengths))).toEqual(wanted);
      }),
      { numRuns: 30 },
    );
    expect(await read(new Response(new Uint8Array()).body ?? pieces(new Uint8Array(), [1]))).toEqual([]);
    expect(await parseFrames(new Uint8Array())).toEqual([]);
  });

  it('hold a copy: what the payload was cut from may change', async () => {
    const memory = payload(400, 1);
    const f = await frame(name(1), memory.subarray(100, 200));
    memory.fill(0);
    expect([...(await parseFrames(f))[0]!.payload]).toEqual([...payload(400, 1).subarray(100, 200)]);
  });

  it('that are cut anywhere are refused, after those that are whole', async () => {
    const [one, two] = [await frame(name(1), payload(5, 1)), await frame(name(2), payload(6, 2))];
    const bytes = joined([one, two]);
    for (let end = one.length + 1; end < bytes.length; end++) {
      const inside = end - one.length < PAGE_HEAD ? 'head' : 'page';
      await expect(parseFrames(bytes.slice(0, end))).rejects.toThrow(`inside a ${inside}`);
      const got: string[] = [];
      const reading = (async () => {
        for await (const f of readFrames(pieces(bytes.slice(0, end), [9]))) got.push(f.name);
      })();
      await expect(reading).rejects.toThrow(inside === 'head' ? 'inside a head' : `inside page ${name(2)}`);
      expect(got).toEqual([name(1)]);
    }
  });

  it('of which one bit is another are refused, wherever it is but in the name', async () => {
    const good = await frame(name(1), payload(8, 1));
    for (let at = 0; at < good.length; at++) {
      if (at >= 7 && at < 39) continue; // a name is checked by who asked for it
      for (const bit of [1, 128]) {
        const bad = good.slice();
        bad[at] ^= bit;
        await expect(parseFrames(bad)).rejects.toThrow(/^pages: /);
        await expect(read(pieces(bad, [50]))).rejects.toThrow(/^pages: /);
      }
    }
  });

  it('of another version of pages are refused by name', async () => {
    const p = payload(4, 1);
    const head = new Uint8Array(PAGE_HEAD);
    for (const version of [PAGE_VERSION - 1, PAGE_VERSION + 1]) {
      writePageHead(head, { version, name: name(3), sha256: await digestOf(p) }, p.length);
      await expect(parseFrames(joined([head, p]))).rejects.toThrow(`page ${name(3)} has version ${version}, must be ${PAGE_VERSION}`);
      await expect(read(pieces(joined([head, p]), [99]))).rejects.toThrow(`version ${version}`);
    }
    expect([...joined([frameHead(name(3), await digestOf(p), p.length), p])]).toEqual([...(await frame(name(3), p))]);
  });
});

describe('lines', () => {
  const lines = async (body: ReadableStream<Uint8Array>, signal?: AbortSignal) => {
    const got: string[] = [];
    for await (const line of readLines(body, signal)) got.push(line);
    return got;
  };
  const bytes = (text: string) => new TextEncoder().encode(text);

  it('come whole however the stream is cut, empty ones and one that never ended left out', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.string({ unit: 'grapheme', maxLength: 9 })),
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }),
        async (said, cuts) => {
          const whole = said.map((s) => s.replaceAll('\n', ''));
          const text = whole.map((l) => `${l}\n`).join('');
          expect(await lines(pieces(bytes(`${text}cut off`), cuts))).toEqual(whole.filter((l) => l !== ''));
        },
      ),
      { numRuns: 50 },
    );
  });

  it('end when the signal says so, before and between reads, and let the source go', async () => {
    let left = 0;
    const stopped = AbortSignal.abort(new Error('stopped'));
    await expect(
      lines(
        pieces(bytes('a\n'), [1], () => left++),
        stopped,
      ),
    ).rejects.toThrow('stopped');
    const abort = new AbortController();
    const silent = new ReadableStream<Uint8Array>({ cancel: () => void left++ });
    const reading = lines(silent, abort.signal);
    abort.abort(new Error('enough'));
    await expect(reading).rejects.toThrow('enough');
    for await (const line of readLines(pieces(bytes('a\nb\n'), [2], () => left++))) {
      expect(line).toBe('a');
      break;
    }
    expect(left).toBe(3);
    const fresh = new AbortController();
    expect(await lines(pieces(bytes('a\nb\n'), [1]), fresh.signal)).toEqual(['a', 'b']);
  });

  it('have at most 2^24 characters', async () => {
    const long = (n: number) => lines(pieces(new Uint8Array(n).fill(120), [1 << 22]));
    expect(await long(1 << 24)).toEqual([]);
    await expect(long((1 << 24) + 1)).rejects.toThrow('more than 16777216');
  });
});

describe('ids', () => {
  const session = newSessionId();
  it('lead their own tenant to the session, and nobody else; one changed digit leads nowhere', () => {
    const id = newResponseId(session, sealOf('s', 'ann', session));
    expect(sessionOf(id)).toBe(session);
    expect(ownSession('s', 'ann', id)).toBe(session);
    expect(ownSession('s', 'bob', id)).toBeUndefined();
    expect(ownSession('another secret', 'ann', id)).toBeUndefined();
    for (let at = 'resp_'.length; at < id.length; at++) {
      const other = id.slice(0, at) + (id[at] === '0' ? '1' : '0') + id.slice(at + 1);
      // the turn's own digits say which response, and are not sealed
      const turn = at >= 37 && at < 53;
      expect(ownSession('s', 'ann', other)).toBe(turn ? session : undefined);
    }
    for (const none of ['', 'resp_', `x${id}`, `${id}0`, id.slice(0, -1), id.toUpperCase(), `${id}\n`]) {
      expect([sessionOf(none), ownSession('s', 'ann', none)]).toEqual([undefined, undefined]);
    }
  });

  it('are drawn anew each time; those of a key are the same for it and differ for any other', () => {
    expect(newSessionId()).toMatch(/^[0-9a-f]{32}$/);
    expect(newSessionId()).not.toBe(newSessionId());
    expect(newResponseId(session, '0'.repeat(16))).not.toBe(newResponseId(session, '0'.repeat(16)));
    const of = (tenant: string, key: string, held?: string) => keyedIds('s', tenant, key, held);
    expect(of('ann', 'k')).toEqual(of('ann', 'k'));
    const all = [of('ann', 'k'), of('ann', 'l'), of('bob', 'k'), of('ann', 'k', session), keyedIds('t', 'ann', 'k')];
    expect(new Set(all.map((a) => a.id.slice(37, 53))).size).toBe(5);
    expect(all.map((a) => sessionOf(a.id))).toEqual(all.map((a) => a.session));
    expect(ownSession('s', 'ann', all[0]!.id)).toBe(all[0]!.session);
    expect(all[3]!.session).toBe(session);
    expect(all[0]!.session).not.toBe(all[1]!.session);
  });

  it('names of objects hold the tenant, and no key can name a session', () => {
    expect(sessionName('ann', 'x')).toBe('ann/x');
    expect(cacheName('ann', 'x')).toBe('ann/key/x');
  });
});

describe('a conversation', () => {
  it('has at most 4096 items', () => {
    const items = (n: number) => new Array<never>(n).fill('x' as never);
    expect(tooLong(items(4000), items(96))).toBe(false);
    expect(tooLong(items(4000), items(97))).toBe(true);
    expect(tooLong([], items(4097))).toBe(true);
  });

  it('has at most 8 Mi characters of JSON, counted over what was said and what is', () => {
    const text = 'x'.repeat((4 << 20) - 2); // and its quotes
    const [half, more, none] = [text, `${text}x`, ''] as never[];
    expect(tooLong([half], [half])).toBe(false);
    expect(tooLong([half], [more])).toBe(true);
    expect(tooLong([half, half], [none]) && tooLong([], [half, half, none])).toBe(true);
  });

  it('begins as a turn that waits, with nothing said', () => {
    const from = { id: 'r', tenant: 't', model: 'm', input: ['i'] as never, request: { q: 1 } as never, echo: { e: 1 }, priority: 4 };
    expect(newTurn({ ...from, seed: [9, 9] }, [1, 2], 1_999)).toEqual({
      ...from,
      ...{ previous: null, created: 1, completed: null, status: 'queued', fingerprint: null, recomputed: false, seed: [1, 2] },
      ...{ epoch: 0, starts: [], finish: null, tail: '', output: [], error: null, usage: { prompt: 0, cached: 0, completion: 0 } },
    });
    expect(newTurn({ ...from, previous: 'p' }, [1, 2], 0).previous).toBe('p');
  });
});
