/** `turnstone simulate`: what prefill of a model's shape takes on a device, and what routing makes of it on a trace. */
import { existsSync, readFileSync } from 'node:fs';
import { type ModelConfig, readConfig } from '../engine/config.ts';
import { checkDevice, type DeviceSpec, device, deviceNames } from '../simulator/device/index.ts';
import { modelShapes } from '../simulator/shapes.ts';
import { type Numbers, type Simulation, simulate } from '../simulator/simulate.ts';
import { type Arrival, type Fleet, interpolate, placings, quantile, type Replay, replay } from './replay.ts';

export interface SimulateOptions {
  /** A shape by name, or a JSON file with a model configuration. */
  readonly model: string;
  /** A device by name, or a JSON file with a description. */
  readonly device: string;
  readonly prompts: readonly number[];
  readonly batch?: number;
  readonly chips?: number;
  readonly numbers?: Numbers;
}

function read<X>(what: string, name: string, known: readonly string[], byName: (n: string) => X, check: (raw: unknown) => X): X {
  if (known.includes(name)) return byName(name);
  if (!existsSync(name)) throw new Error(`no ${what} ${JSON.stringify(name)}: give a JSON file or one of ${known.join(', ')}`);
  return check(JSON.parse(readFileSync(name, 'utf8')));
}

export const modelOf = (name: string): ModelConfig => read('model', name, Object.keys(modelShapes), (n) => modelShapes[n], readConfig);
export const deviceOf = (name: string): DeviceSpec => read('device', name, deviceNames, device, checkDevice);

/** Is told what is under way. */
type Show = (line: string) => void;

/** One simulation a prompt length. */
export function simulateAll(o: SimulateOptions, show: Show = () => {}): { prompt: number; result: Simulation }[] {
  const [model, spec] = [modelOf(o.model), deviceOf(o.device)];
  return o.prompts.map((prompt, i) => {
    show(`${o.model}, ${prompt} tokens, is simulated (${i + 1} of ${o.prompts.length}) …`);
    return { prompt, result: simulate({ device: spec, model, prompt, batch: o.batch, numbers: o.numbers, options: { chips: o.chips } }) };
  });
}

/** The results as lines of text. */
export function simulationTable(rows: readonly { prompt: number; result: Simulation }[]): string {
  const head = ['tokens', 'device ms', 'tokens/s', 'TOP/s', 'of roof', 'HBM MB', 'links MB', 'tensor', 'vector', 'hbm', 'bound'];
  const body = rows.map(({ prompt, result: s }) => {
    const pct = (v: number): string => `${(100 * v).toFixed(0)} %`;
    const tokens = (prompt / s.us) * 1e6;
    return [
      ...[String(prompt), (s.us / 1000).toFixed(3), tokens.toFixed(0), s.roofline.tops.toFixed(1), pct(s.roofline.reached)],
      ...[((s.bytes.read + s.bytes.written) / 1e6).toFixed(0), (s.bytes.link / 1e6).toFixed(0)],
      ...[pct(s.busy.tensor), pct(s.busy.vector), pct(s.busy.hbm), s.roofline.bound],
    ];
  });
  return columns([head, ...body]);
}

function columns(rows: readonly (readonly string[])[]): string {
  const width = rows[0].map((_, i) => Math.max(...rows.map((r) => r[i].length)));
  return rows.map((r) => r.map((v, i) => v.padStart(width[i])).join('  ')).join('\n');
}

export interface TraceOptions {
  readonly model: string;
  readonly device: string;
  readonly numbers?: Numbers;
  readonly chips?: number;
  readonly fleet?: Partial<Omit<Fleet, 'deviceMs' | 'kvBytesPerToken'>>;
}

/** What a fleet is taken to be when nothing else is said. The rates are a small model's in WebAssembly; the prices are examples. */
export const FLEET: Omit<Fleet, 'deviceMs' | 'kvBytesPerToken'> = {
  ...{ replicas: 32, localTokensPerMs: 0.5, interTokenMs: 30, stepTokens: 128, overheadMs: 4, linkBytesPerMs: 400_000 },
  ...{ thresholdTokens: 512, replicaHour: 0.072, deviceHour: 4 },
};

const LENGTHS = [16, 128, 512, 1024, 2048, 4096, 8192];

/** Replays a trace of arrivals under the four placings. Prompts are cut at 8,192 tokens. */
export function replayTrace(trace: readonly Arrival[], o: TraceOptions, show: Show = () => {}): { fleet: Fleet; replays: Replay[] } {
  const model = { ...modelOf(o.model), context: 8192 };
  const spec = deviceOf(o.device);
  const points = LENGTHS.map((prompt, i): [number, number] => {
    show(`${o.model}, ${prompt} tokens, is simulated (${i + 1} of ${LENGTHS.length}) …`);
    return [prompt, simulate({ device: spec, model, prompt, numbers: o.numbers, options: { chips: o.chips } }).us / 1000];
  });
  const kvBytesPerToken = model.layers * model.kvHeads * 2 * (model.headDim + 4);
  const fleet: Fleet = { ...FLEET, ...o.fleet, deviceMs: interpolate(points), kvBytesPerToken };
  const cut = trace.map((r) => ({ ...r, prompt: Math.max(1, Math.min(8192, r.prompt)) }));
  return {
    fleet,
    replays: placings.map((p, i) => {
      show(`${trace.length} requests are replayed (${i + 1} of ${placings.length}) …`);
      return replay(cut, fleet, p);
    }),
  };
}

export function replayTable(replays: readonly Replay[]): string {
  const head = ['placing', 'TTFT p50 ms', 'p95 ms', 'p99 ms', 'on device', 'replica h', 'device h', 'device busy', '$ / 1,000'];
  const body = replays.map((r) => {
    const q = (v: number): string => quantile(r.ttft, v).toFixed(0);
    const share = `${((100 * r.onDevice) / r.ttft.length).toFixed(0)} %`;
    const busy = `${(100 * r.deviceBusy).toFixed(2)} %`;
    return [
      r.placing,
      q(0.5),
      q(0.95),
      q(0.99),
      share,
      r.replicaHours.toFixed(2),
      r.deviceHours.toFixed(3),
      busy,
      r.dollarsPer1000.toFixed(3),
    ];
  });
  return columns([head, ...body]);
}

/** Azure's LLM inference trace 2023 (CSV: TIMESTAMP, ContextTokens, GeneratedTokens). Throws naming the line that is not such a row. */
export function readAzureTrace(path: string): Arrival[] {
  const rows = readFileSync(path, 'utf8').trim().split('\n').slice(1);
  let start = 0;
  return rows.map((row, i) => {
    const [time, prompt, output] = row.split(',');
    const at = Date.parse(`${(time ?? '').replace(' ', 'T').slice(0, 23)}Z`);
    const [p, n] = [Number(prompt), Number(output)];
    if (!Number.isFinite(at) || !(p >= 0 && p <= 1e7) || !(n >= 0 && n <= 1e7))
      throw new Error(`${path}, line ${i + 2}: not a row of the trace`);
    if (i === 0) start = at;
    return { at: at - start, prompt: p, output: Math.max(1, n) };
  });
}
