/**
 * The replica's side of the accelerator's wire (docs/npu-protocol.md): asks for a prompt's pages, uploads ancestors that
 * are missing there, and hands over each page as it arrives, checked.
 */
import { concat } from '../engine/bytes.ts';
import {
  decodeDone,
  decodeFail,
  decodePage,
  encodeHead,
  encodeIds,
  encodePage,
  FRAME,
  FrameReader,
  type PrefillHead,
  type PrefillTiming,
  ProtocolError,
  pageFault,
} from './protocol.ts';

export interface NpuCall {
  /** The service binding. */
  readonly npu: { fetch(url: string, init: RequestInit): Promise<Response> };
  readonly secret: string;
  readonly head: PrefillHead;
  readonly ids: readonly number[];
  /** Names of the prompt's whole pages from the first on: what arrives must be the next of them. */
  readonly names: readonly string[];
  /** What a page must be: engine/layout.ts's PAGE_VERSION, and the pool's page size. */
  readonly page: { readonly version: number; readonly bytes: number };
  readonly hash: (bytes: Uint8Array) => Uint8Array;
  /** Bytes of an ancestor that is missing there, or undefined when it has gone here too. */
  readonly pageOf: (name: string) => Promise<Uint8Array | undefined>;
  readonly onPage: (name: string, bytes: Uint8Array) => void | Promise<void>;
  readonly signal?: AbortSignal;
}

export interface NpuAnswer extends PrefillTiming {
  readonly received: number;
  readonly uploaded: number;
}

/**
 * What went wrong: nobody answered; the answer was not there in time; a status that is no success; bytes that are not the
 * protocol; a page that is not what it must be; an answer that breaks off; the service's own word that it failed.
 */
export const FAULTS = ['unreachable', 'timeout', 'status', 'protocol', 'page', 'cut', 'failed'] as const;
export type Fault = (typeof FAULTS)[number];

/** Statuses that say something about this prompt or this moment, not about the service: bad request, missing pages, too large, busy. */
const REFUSALS: readonly number[] = [400, 409, 413, 429];

/** Why the accelerator did not deliver. Whatever the reason, the prompt is finished locally. */
export class NpuError extends Error {
  override name = 'NpuError';
  readonly fault: Fault;
  /** HTTP status, 0 when there was no answer or a broken one. */
  readonly status: number;
  /** ms after which a busy service wants to be asked again. */
  readonly retryMs: number;

  constructor(fault: Fault, message: string, status = 0, retryMs = 0) {
    super(message);
    this.fault = fault;
    this.status = status;
    this.retryMs = retryMs;
  }

  /** A refusal says nothing bad about the service's health. */
  get refused(): boolean {
    return REFUSALS.includes(this.status);
  }
}

const MAX_ERROR = 1 << 20;
const MAX_RETRY_MS = 600_000;

/** Throws NpuError. Pages handed over before it are good and stay. */
export async function npuPrefill(c: NpuCall): Promise<NpuAnswer> {
  try {
    let sent = await send(c, []);
    let uploaded = 0;
    if (sent.status === 409) {
      const uploads = await missingPages(c, sent);
      uploaded = uploads.reduce((n, u) => n + u.length, 0);
      sent = await send(c, uploads);
    }
    if (sent.status !== 200) throw await refusal(sent);
    return await receive(c, sent, uploaded);
  } catch (e) {
    if (c.signal?.aborted) throw new NpuError('timeout', 'the accelerator did not answer in time');
    if (e instanceof NpuError) throw e;
    const message = e instanceof Error ? e.message : String(e);
    throw new NpuError(e instanceof ProtocolError ? 'protocol' : 'unreachable', message);
  }
}

function send(c: NpuCall, uploads: readonly Uint8Array[]): Promise<Response> {
  return c.npu.fetch('https://npu/v1/prefill', {
    method: 'POST',
    headers: { authorization: `Bearer ${c.secret}`, 'content-type': 'application/octet-stream' },
    body: concat([encodeHead(c.head), encodeIds(c.ids), ...uploads]) as BodyInit,
    signal: c.signal,
  });
}

async function refusal(r: Response): Promise<NpuError> {
  let message = `the accelerator answered ${r.status}`;
  let retryMs = 1000 * Number(r.headers.get('retry-after') ?? 0);
  try {
    const { error } = JSON.parse((await r.text()).slice(0, MAX_ERROR)) as { error: { message: unknown; retryMs?: unknown } };
    if (typeof error.message === 'string') message = error.message.slice(0, 4096);
    if (typeof error.retryMs === 'number') retryMs = error.retryMs;
  } catch {} // not JSON: the status says enough
  return new NpuError('status', message, r.status, retryMs >= 0 && retryMs <= MAX_RETRY_MS ? retryMs : 0);
}

async function missingPages(c: NpuCall, r: Response): Promise<Uint8Array[]> {
  const answer = (await r.json().catch(() => undefined)) as { error?: { missing?: unknown } } | undefined;
  const missing = answer?.error?.missing;
  const own = c.names.slice(0, c.head.have);
  if (!Array.isArray(missing) || missing.length === 0 || !missing.every((n) => own.includes(n as string))) {
    throw new NpuError('protocol', 'the accelerator misses pages that are not ours');
  }
  const frames: Uint8Array[] = [];
  for (const name of missing as string[]) {
    const bytes = await c.pageOf(name);
    if (!bytes) throw new NpuError('status', `page ${name} is neither there nor here`, 409);
    frames.push(encodePage({ version: c.page.version, name, sha256: c.hash(bytes), bytes }));
  }
  return frames;
}

async function receive(c: NpuCall, r: Response, uploaded: number): Promise<NpuAnswer> {
  if (!r.body) throw new NpuError('protocol', 'the answer has no body');
  const frames = new FrameReader();
  const reader = (r.body as ReadableStream<Uint8Array>).getReader();
  let received = 0;
  let next = c.head.have;
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((e: unknown) => {
        throw new NpuError('cut', `the answer breaks off after ${next} of ${c.names.length} pages: ${e instanceof Error ? e.message : e}`);
      });
      if (done) break;
      received += value.length;
      for (const f of frames.push(value)) {
        if (f.type === FRAME.fail) throw new NpuError('failed', decodeFail(f));
        if (f.type === FRAME.done) {
          const timing = decodeDone(f);
          if (next !== c.names.length) throw new NpuError('cut', `the answer ends after ${next} of ${c.names.length} pages`);
          return { ...timing, received, uploaded };
        }
        const page = decodePage(f);
        if (page.name !== c.names[next]) throw new NpuError('page', `page ${page.name} is not the next of this prompt`);
        const fault = pageFault(page, c.page, c.hash);
        if (fault) throw new NpuError('page', `page ${page.name}: ${fault}`);
        next++;
        await c.onPage(page.name, page.bytes);
      }
    }
    throw new NpuError('cut', `the answer breaks off after ${next} of ${c.names.length} pages`);
  } finally {
    await reader.cancel().catch(() => {});
  }
}
