/**
 * The accelerator as a service: requests in, answers out, with no platform but fetch's own types. accelerator/index.ts gives it
 * its model and its secret.
 */
import { PAGE, PAGE_VERSION } from '../engine/layout.ts';
import { checkDevice, type DeviceSpec, device, deviceNames } from '../simulator/device/index.ts';
import { runData } from '../simulator/report/data.ts';
import { chromeTrace } from '../simulator/report/trace.ts';
import { modelShapes } from '../simulator/shapes.ts';
import { NUMBERS, type Numbers, type SimulateRequest, simulate } from '../simulator/simulate.ts';
import type { DonePage, Prefiller } from './prefiller.ts';
import {
  decodeHead,
  decodeIds,
  decodePage,
  encodeDone,
  encodeFail,
  encodePage,
  FRAME,
  FrameReader,
  type PageFrame,
  type PrefillHead,
  ProtocolError,
  pageFault,
} from './protocol.ts';
import { DeviceQueue, Gone, QueueFull } from './queue.ts';
import type { Recorder } from './recorder.ts';

/** The device with its model. */
export interface Opened {
  readonly prefiller: Prefiller;
  readonly deviceUs: () => number;
  /** Is given every launch of the device; without it there is nothing to look at. */
  readonly recorder?: Recorder;
}

export interface ServiceOptions {
  readonly device: DeviceSpec;
  readonly chips: number;
  /** Callers must present it. Refuses to be empty. */
  readonly secret: string;
  /** Opened at the first prefill; asked again after it failed. */
  readonly open: () => Promise<Opened>;
  readonly hash: (bytes: Uint8Array) => Uint8Array;
  readonly queue?: number;
  readonly now: () => number;
  /** Lets other requests in; between chunks. */
  readonly breathe: () => Promise<void>;
  readonly maxBodyBytes?: number;
}

/** A caller that takes no page for so long loses the device. */
const IDLE_MS = 3_000;

const text = (status: number, message: string, more: Record<string, unknown> = {}, headers: Record<string, string> = {}): Response =>
  Response.json({ error: { message, ...more } }, { status, headers });

/** Compares without telling by its time where two texts differ. */
function equal(a: Uint8Array, b: Uint8Array): boolean {
  let d = a.length ^ b.length;
  for (let i = 0; i < a.length; i++) d |= a[i] ^ (b[i % b.length] ?? 0);
  return d === 0;
}

export interface Service {
  /** `later` keeps the request's context alive: where callers may leave, the runtime would else forget the prompt, and with it who has the device. */
  fetch(request: Request, later?: (work: Promise<unknown>) => void): Promise<Response>;
}

export function createService(o: ServiceOptions): Service {
  if (o.secret.length < 16) throw new Error('NPU_SECRET must have at least 16 characters');
  const queue = new DeviceQueue(o.queue ?? 8, o.now);
  const maxBody = o.maxBodyBytes ?? 256 << 20;
  let opened: ReturnType<ServiceOptions['open']> | undefined;
  const open = (): ReturnType<ServiceOptions['open']> => {
    if (!opened) {
      opened = o.open();
      opened.catch(() => {
        opened = undefined;
      });
    }
    return opened;
  };
  // both sides are hashed, so that the comparison takes the same time for every guess
  const digest = (s: string): Uint8Array => o.hash(new TextEncoder().encode(s));
  const key = digest(`Bearer ${o.secret}`);

  async function body(request: Request): Promise<{ head: PrefillHead; ids: number[]; uploads: PageFrame[] }> {
    const reader = new FrameReader();
    const frames = [];
    let bytes = 0;
    if (!request.body) throw new ProtocolError('the request has no body');
    for await (const chunk of request.body as AsyncIterable<Uint8Array>) {
      bytes += chunk.length;
      if (bytes > maxBody) throw new ProtocolError(`the request is longer than ${maxBody} bytes`);
      frames.push(...reader.push(chunk));
    }
    reader.end();
    if (frames.length < 2) throw new ProtocolError('a request has a head and token ids');
    return { head: decodeHead(frames[0]), ids: decodeIds(frames[1]), uploads: frames.slice(2).map(decodePage) };
  }

  async function prefill(request: Request, later?: (work: Promise<unknown>) => void): Promise<Response> {
    const arrived = o.now();
    const { head, ids, uploads } = await body(request);
    const { prefiller, deviceUs, recorder } = await open();
    if (head.pack !== prefiller.pack || head.kv !== prefiller.kvFormat || head.numerics !== prefiller.numerics) {
      const own = { pack: prefiller.pack, kv: prefiller.kvFormat, numerics: prefiller.numerics };
      const serves = `pack ${own.pack.slice(0, 12)}, ${own.kv} pages, ${own.numerics}`;
      return text(422, `This accelerator serves another model or arithmetic: ${serves}.`, { serves: own });
    }
    prefiller.check(ids, head.have);
    const ancestors = prefiller.chain(ids, head.salt).slice(0, head.have);
    for (const page of uploads) {
      if (!ancestors.includes(page.name)) throw new ProtocolError(`page ${page.name} is no ancestor of this prompt`);
      const fault = pageFault(page, { version: PAGE_VERSION, bytes: prefiller.pageBytes }, o.hash);
      if (fault) throw new ProtocolError(`page ${page.name}: ${fault}`);
    }
    for (const page of uploads) if (!prefiller.put(page.name, page.bytes)) return text(503, 'No page of the device is free.');
    const missing = ancestors.filter((name) => !prefiller.has(name));
    if (missing.length > 0) return text(409, `${missing.length} ancestor pages are not here; send them along.`, { missing });

    let ended = (): void => {};
    later?.(
      new Promise<void>((resolve) => {
        ended = resolve;
      }),
    );
    const leave = new AbortController();
    const timer = setTimeout(() => leave.abort(), Math.max(0, head.deadlineMs - (o.now() - arrived)));
    request.signal.addEventListener('abort', () => leave.abort());
    let free: () => void;
    try {
      free = await queue.take(Math.max(1, ids.length - head.have * PAGE), leave.signal);
    } catch (e) {
      clearTimeout(timer);
      ended();
      throw e;
    }
    const started = o.now();
    const before = deviceUs();
    recorder?.begin();
    const pages = prefiller.run(ids, head.have, head.salt);
    let idle: ReturnType<typeof setTimeout> | null = null;
    const end = async (): Promise<void> => {
      clearTimeout(timer);
      clearTimeout(idle);
      leave.signal.removeEventListener('abort', end);
      await pages.return(undefined);
      free();
      ended();
    };
    // a caller that neither reads nor leaves holds the device until its deadline, not longer
    leave.signal.addEventListener('abort', end);
    const count = { pages: 0, cached: 0 };
    const frameOf = (p: DonePage): Uint8Array => {
      count.pages++;
      if (p.cached) count.cached++;
      return encodePage({ version: PAGE_VERSION, name: p.name, sha256: o.hash(p.bytes), bytes: p.bytes });
    };
    const stream = new ReadableStream<Uint8Array>({
      async pull(controller) {
        clearTimeout(idle);
        try {
          if (leave.signal.aborted) throw new Gone('the caller left, or its deadline passed');
          await o.breathe();
          const next = await pages.next();
          if (leave.signal.aborted) throw new Gone('the caller left, or its deadline passed');
          if (!next.done) {
            controller.enqueue(frameOf(next.value));
            idle = setTimeout(() => leave.abort(), IDLE_MS); // not every runtime tells when a caller is gone
            return;
          }
          const tokens = (count.pages - count.cached) * PAGE;
          const timing = {
            deviceMs: (deviceUs() - before) / 1000,
            hostMs: o.now() - started,
            queueMs: started - arrived,
            tokens,
            ...count,
          };
          recorder?.end({ tokens, deviceMs: timing.deviceMs, hostMs: timing.hostMs, at: o.now() });
          controller.enqueue(encodeDone(timing));
        } catch (e) {
          controller.enqueue(encodeFail(e instanceof Error ? e.message : String(e)));
        }
        await end();
        controller.close();
      },
      cancel: end,
    });
    return new Response(stream, { headers: { 'content-type': 'application/octet-stream' } });
  }

  /** What the last computed prompt did, as data for a page or as a Chrome trace. */
  async function last(as: 'report' | 'trace'): Promise<Response> {
    const { prefiller, recorder } = opened ? await opened : {};
    const run = recorder?.last;
    if (!run || !prefiller) return text(404, 'No prompt was computed here yet.', { code: 'nothing_yet' });
    const { launches, ...took } = run;
    if (as === 'report') return Response.json({ pack: prefiller.pack, ...took, ...runData(o.device, launches, o.chips) });
    const trace = chromeTrace(launches, { cyclesPerUs: o.device.clockGHz * 1000, opUs: o.device.launch.opUs });
    return new Response(trace, { headers: { 'content-type': 'application/json' } });
  }

  return {
    async fetch(request, later) {
      const url = new URL(request.url);
      const route = `${request.method} ${url.pathname}`;
      if (!equal(digest(request.headers.get('authorization') ?? ''), key)) return text(401, 'The accelerator wants its secret.');
      try {
        if (route === 'GET /v1/device') {
          const state = {
            chips: o.chips,
            queue: queue.depth,
            queueMs: queue.waitMs,
            shipped: deviceNames,
            frames: FRAME,
            layout: PAGE_VERSION,
          };
          return Response.json({ device: o.device, ...state });
        }
        if (route === 'GET /v1/report') return await last('report');
        if (route === 'GET /v1/trace') return await last('trace');
        if (route === 'POST /v1/prefill') return await prefill(request, later);
        if (route === 'POST /v1/simulate') return Response.json(simulated(await request.json()));
        return text(404, `There is nothing at ${route}.`);
      } catch (e) {
        return failure(e);
      }
    },
  };
}

function failure(e: unknown): Response {
  if (!(e instanceof Error)) return text(500, String(e));
  if (e instanceof QueueFull)
    return text(429, e.message, { retryMs: e.retryMs }, { 'retry-after': String(Math.max(1, Math.ceil(e.retryMs / 1000))) });
  if (e instanceof Gone) return text(504, e.message);
  if (e instanceof ProtocolError || e instanceof RangeError || e instanceof SyntaxError) return text(400, e.message);
  if (e.name === 'SramError' || e.message.startsWith('model config:') || e.message.startsWith('device')) return text(400, e.message);
  console.error('npu:', e);
  return text(500, 'The accelerator failed.');
}

/** Tokens whose every instruction is kept. */
const MAX_REPORT = 4096;

/** Body of /v1/simulate: model and device by name or as they are, the rest numbers. Throws RangeError naming what is wrong. */
function simulated(raw: unknown): unknown {
  if (raw === null || typeof raw !== 'object') throw new RangeError('the body must be an object');
  const r = raw as Record<string, unknown>;
  const model = typeof r.model === 'string' ? modelShapes[r.model] : (r.model as SimulateRequest['model']);
  if (!model || typeof model !== 'object')
    throw new RangeError(`model must be a configuration or one of ${Object.keys(modelShapes).join(', ')}`);
  const spec = typeof r.device === 'string' ? named(r.device) : checkDevice(r.device);
  const numbers = (r.numbers ?? 'w4') as Numbers;
  if (!NUMBERS.includes(numbers)) throw new RangeError(`numbers must be one of ${NUMBERS.join(', ')}`);
  const chips = (r.chips ?? 1) as number;
  const report = r.report === true;
  if (report && (r.prompt as number) * ((r.batch as number) ?? 1) > MAX_REPORT)
    throw new RangeError(`with report, prompt · batch is at most ${MAX_REPORT}`);
  const { launched, ...summary } = simulate({
    ...{
      device: spec,
      model,
      numbers,
      prompt: r.prompt as number,
      cached: r.cached as number,
      batch: r.batch as number,
      timelines: report,
    },
    options: { chips, doubleBuffer: r.doubleBuffer !== false, fuseNorm: r.fuse !== false, fuseSwiglu: r.fuse !== false },
  });
  return { device: spec.name, chips, numbers, ...summary, ...(report && { report: runData(spec, launched, chips) }) };
}

function named(name: string): DeviceSpec {
  if (!deviceNames.includes(name)) throw new RangeError(`device must be a description or one of ${deviceNames.join(', ')}`);
  return device(name);
}
