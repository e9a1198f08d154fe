/** Starts the bench's Worker in workerd and times what it is asked, from outside. */
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import asc from 'assemblyscript/asc';
import { Log, LogLevel, Miniflare } from 'miniflare';
import { build as viteBuild } from 'vite';
import { build, ROOT } from '../../cli/build.ts';
import { type LocalPack, uploadPack } from '../../cli/packs.ts';
import { start } from '../clock.ts';
import { workerds } from '../process.ts';
import type { KernelBody, LoadBody, MeasuredBody, PrefillBody, ProbeBody } from './protocol.ts';

const COMPATIBILITY = '2026-04-01';

export interface Timed<T> {
  ms: number;
  value: T;
}

export class BenchWorker {
  readonly miniflare: Miniflare;
  private readonly url: string;
  private readonly storage: string;
  private readonly pids: number[];
  /** What an empty request takes, ms; subtracted from every time. */
  private empty = 0;

  private constructor(miniflare: Miniflare, url: string, storage: string, pids: number[]) {
    this.pids = pids;
    this.miniflare = miniflare;
    this.url = url;
    this.storage = storage;
  }

  static async start(): Promise<BenchWorker> {
    await build(undefined, ['wasm']);
    const wasm = (name: string) => readFileSync(join(ROOT, '.build/wasm', `turnstone-${name}.wasm`));
    const storage = await mkdtemp(join(tmpdir(), 'turnstone-bench-'));
    const others = new Set(workerds());
    const miniflare = new Miniflare({
      modules: [
        { type: 'ESModule', path: 'worker.js', contents: await bundle() },
        { type: 'CompiledWasm', path: 'relaxed.wasm', contents: wasm('relaxed') },
        { type: 'CompiledWasm', path: 'simd.wasm', contents: wasm('simd') },
        { type: 'CompiledWasm', path: 'probe.wasm', contents: await probe() },
      ],
      compatibilityDate: COMPATIBILITY,
      r2Buckets: ['PACKS'],
      r2Persist: storage,
      cf: false,
      log: new Log(LogLevel.ERROR),
    });
    const worker = new BenchWorker(
      miniflare,
      (await miniflare.ready).href,
      storage,
      workerds().filter((p) => !others.has(p)),
    );
    await worker.calibrate();
    return worker;
  }

  /** Measures anew what an empty request takes: after the clock was changed, and before what takes hardly longer. */
  async calibrate(): Promise<void> {
    this.empty = 0;
    const times: number[] = [];
    for (let i = 0; i < 40; i++) times.push((await this.ask('nothing', {})).ms);
    this.empty = times.slice(20).sort((a, b) => a - b)[10];
  }

  async upload(pack: LocalPack): Promise<void> {
    await uploadPack(await this.miniflare.getR2Bucket('PACKS'), pack);
  }

  load = (o: LoadBody) => this.ask<{ variant: string; weightBytes: number; vocab: number }>('load', o);
  read = (id: string) => this.ask<{ bytes: number }>('read', { id });
  prefill = (o: PrefillBody) => this.ask<{ cached: number }>('prefill', o);
  decode = (steps: number) => this.ask<{ tokens: number }>('decode', { steps });
  /** Tells the engine that speculates what steps took, as its loop does in a server: inside the isolate the clock stands still. */
  measured = (o: MeasuredBody) => this.ask<object>('measured', o);
  drop = () => this.ask<{ output: number[][] }>('drop', {});
  kernel = (o: KernelBody) => this.ask<{ macs: number; bytes: number }>('kernel', o);
  probe = (o: ProbeBody) => this.ask<object>('probe', o);

  async stop(): Promise<void> {
    await this.miniflare.dispose();
    await rm(this.storage, { recursive: true, force: true });
  }

  private async ask<T>(path: string, body: unknown): Promise<Timed<T>> {
    const text = JSON.stringify(body);
    const send = () => fetch(this.url + path, { method: 'POST', body: text });
    let elapsed = start(this.pids);
    const response = await send().catch(() => {
      elapsed = start(this.pids); // the runtime had closed the idle connection
      return send();
    });
    const value = (await response.json()) as T & { error?: string };
    const ms = Math.max(0.01, elapsed() - this.empty);
    if (!response.ok) throw new Error(`the bench's Worker failed at /${path}: ${value.error}`);
    return { ms, value };
  }
}

async function bundle(): Promise<string> {
  const result = await viteBuild({
    configFile: false,
    logLevel: 'silent',
    ssr: { noExternal: true },
    build: {
      ssr: join(ROOT, 'bench/workerd/worker.ts'),
      write: false,
      target: 'esnext',
      rollupOptions: { external: [/\.wasm$/], output: { format: 'es' } },
    },
  });
  if (!('output' in result)) throw new Error('vite built no output');
  return result.output[0].code;
}

async function probe(): Promise<Uint8Array> {
  const options = [
    '--runtime',
    'stub',
    '--importMemory',
    '--noExportMemory',
    '--noAssert',
    '--use',
    'abort=',
    '--disableWarning',
    '112',
    '-O3',
  ];
  const { error, stderr, binary } = await compile([join(ROOT, 'bench/roofline/probe.ts'), ...options, '--enable', 'simd,relaxed-simd']);
  if (error || !binary) throw new Error(`the probe does not compile: ${error?.message ?? ''}\n${stderr}`);
  return binary;
}

async function compile(args: string[]): Promise<{ error: Error | null; stderr: string; binary?: Uint8Array }> {
  let binary: Uint8Array | undefined;
  const { error, stderr } = await asc.main([...args, '-o', 'probe.wasm'], {
    writeFile: (_name: string, contents: string | Uint8Array) => {
      if (typeof contents !== 'string') binary = contents;
    },
  });
  return { error, stderr: stderr.toString(), binary };
}
