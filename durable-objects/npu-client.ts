/**
 * The replica's side of the accelerator's wire (docs/npu-protocol.md): asks for a prompt's pages, uploads ancestors that
 * are missing there, and hands over each page as it arrives, checked.
 */
import {
  concat,
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
  pageFault,
} from '../kernels/npu/protocol.ts';

export interface NpuCall {
  /** The service binding. */
  readonly npu: { fetch(url: string, init: RequestInit): Promise<Response> };
  readonly secret: string;
  readonly head: PrefillHead;
  readonly ids: readonly number[];
  /** Names of the prompt's whole pages from the first on: what arrives must be the next of them. */
  readonly names: readonly string[];
  /** What a page must be: engine/layout.ts's LAYOUT, and the pool's page size. */
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

/** Why the accelerator did not deliver. Whatever the reason, the prompt is finished locally. */
export class NpuError extends Error {
  override name = 'NpuError';
  /** HTTP status, 0 when there was no answer or a broken one. */
  readonly status: number;
  /** A refusal (429, 409, 422 …) says nothing bad about the service's health. */
  readonly refused: boolean;

  constructor(message: string, status = 0) {
    super(message);
    this.status = status;
    this.refused = status >= 400 && status < 500;
  }
}

const MAX_ERROR = 1 << 20;

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
    if (sent.status !== 200) throw new NpuError(await said(sent), sent.status);
    return await receive(c, sent, uploaded);
  } catch (e) {
    if (e instanceof NpuError) throw e;
    throw new NpuError(e instanceof Error ? e.message : String(e));
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

async function said(r: Response): Promise<string> {
  const text = (await r.text()).slice(0, MAX_ERROR);
  try {
    return (JSON.parse(text) as { error: { message: string } }).error.message;
  } catch {
    return `the accelerator answered ${r.status}`;
  }
}

async function missingPages(c: NpuCall, r: Response): Promise<Uint8Array[]> {
  const answer = (await r.json()) as { error?: { missing?: unknown } };
  const missing = answer.error?.missing;
  const own = c.names.slice(0, c.head.have);
  if (!Array.isArray(missing) || missing.length === 0 || !missing.every((n) => own.includes(n as string))) {
    throw new NpuError('the accelerator misses pages that are not ours', 409);
  }
  const frames: Uint8Array[] = [];
  for (const name of missing as string[]) {
    const bytes = await c.pageOf(name);
    if (!bytes) throw new NpuError(`page ${name} is neither there nor here`, 409);
    frames.push(encodePage({ version: c.page.version, name, sha256: c.hash(bytes), bytes }));
  }
  return frames;
}

async function receive(c: NpuCall, r: Response, uploaded: number): Promise<NpuAnswer> {
  if (!r.body) throw new NpuError('the answer has no body');
  const frames = new FrameReader();
  const reader = (r.body as ReadableStream<Uint8Array>).getReader();
  let received = 0;
  let next = c.head.have;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      received += value.length;
      for (const f of frames.push(value)) {
        if (f.type === FRAME.fail) throw new NpuError(decodeFail(f));
        if (f.type === FRAME.done) {
          const timing = decodeDone(f);
          if (next !== c.names.length) throw new NpuError(`the answer ends after ${next} of ${c.names.length} pages`);
          return { ...timing, received, uploaded };
        }
        const page = decodePage(f);
        if (page.name !== c.names[next]) throw new NpuError(`page ${page.name} is not the next of this prompt`);
        const fault = pageFault(page, c.page, c.hash);
        if (fault) throw new NpuError(`page ${page.name}: ${fault}`);
        next++;
        await c.onPage(page.name, page.bytes);
      }
    }
    frames.end();
    throw new NpuError(`the answer breaks off after ${next} of ${c.names.length} pages`);
  } finally {
    await reader.cancel().catch(() => {});
  }
}
