/** The spans of one request in one isolate, and their way to a collector. Without OTEL_EXPORTER_OTLP_ENDPOINT there are none. */

import { version } from '../../package.json';
import { parseSetting, readNumber, type Variables } from '../../policy/settings.ts';
import { newId, readTraceparent, traceparent } from './context.ts';
import { type Attributes, exportOf, type Kind, type SpanRecord } from './otlp.ts';

/** Settings, as OpenTelemetry names them. */
export type TraceVars = Pick<
  Variables,
  'OTEL_EXPORTER_OTLP_ENDPOINT' | 'OTEL_EXPORTER_OTLP_HEADERS' | 'OTEL_TRACES_SAMPLER_ARG' | 'OTEL_SERVICE_NAME'
>;

/** Scripts, as a trace tells them apart. */
export type Part = 'routes' | 'queue' | 'session' | 'replica' | 'stage';

/** Of one request; those that come later are not kept. */
const MAX_SPANS = 64;
/** Exports under way in this isolate; what comes meanwhile is let go of: a collector that hangs costs nobody a token. */
const MAX_EXPORTS = 16;
const EXPORT_MS = 5_000;

let exporting = 0;
let dropped = 0;

/** Spans that no collector got, since the isolate began. */
export const droppedSpans = (): number => dropped;

/**
 * Begins what is told of a request in this isolate. `given`: the caller's `traceparent`, whose decision is followed. Without one nothing
 * is told, unless this is where requests come from (`root`) and the draw takes it.
 */
export function openTrace(vars: TraceVars, part: Part, given: string | null | undefined, root = false): Trace | undefined {
  if (!vars.OTEL_EXPORTER_OTLP_ENDPOINT) return undefined;
  const from = readTraceparent(given);
  if (from ? !from.sampled : !root || Math.random() >= readNumber('OTEL_TRACES_SAMPLER_ARG', vars)) return undefined;
  return new Trace(vars, part, from?.trace ?? newId(16), from?.span);
}

export class Trace {
  readonly id: string;
  readonly #vars: TraceVars;
  readonly #part: Part;
  readonly #from?: string;
  #spans: SpanRecord[] = [];

  constructor(vars: TraceVars, part: Part, id: string, from: string | undefined) {
    this.id = id;
    this.#vars = vars;
    this.#part = part;
    this.#from = from;
  }

  /** Begins a span, below the caller's unless `parent` is given. */
  span(name: string, kind: Kind, start: number, parent?: Span): Span {
    return new Span(this, name, kind, start, parent?.id ?? this.#from);
  }

  /** What has ended. */
  add(span: SpanRecord): void {
    if (this.#spans.length < MAX_SPANS) this.#spans.push(span);
    else dropped++;
  }

  /** Sends what has ended. Never rejects, and is never waited for by an answer: hand it to `waitUntil`. */
  async send(): Promise<void> {
    const spans = this.#spans;
    this.#spans = [];
    if (spans.length === 0) return;
    if (exporting >= MAX_EXPORTS) {
      dropped += spans.length;
      return;
    }
    exporting++;
    try {
      const service = this.#vars.OTEL_SERVICE_NAME || 'turnstone';
      const resource = { 'service.name': service, 'service.version': version, 'service.namespace': service, 'turnstone.part': this.#part };
      const endpoint = String(this.#vars.OTEL_EXPORTER_OTLP_ENDPOINT).replace(/\/+$/, '');
      const answer = await fetch(`${endpoint}/v1/traces`, {
        method: 'POST',
        headers: { ...headersIn(this.#vars.OTEL_EXPORTER_OTLP_HEADERS), 'content-type': 'application/json' },
        body: JSON.stringify(exportOf(resource, spans)),
        signal: AbortSignal.timeout(EXPORT_MS),
      });
      await answer.body?.cancel();
      if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
    } catch (error) {
      dropped += spans.length;
      console.warn('spans were not taken:', error instanceof Error ? error.message : error);
    } finally {
      exporting--;
    }
  }
}

export class Span {
  readonly id = newId(8);
  readonly trace: Trace;
  readonly #rest: Omit<SpanRecord, 'end' | 'attributes' | 'span' | 'trace'>;
  readonly #attributes: Attributes = {};
  #open = true;

  constructor(trace: Trace, name: string, kind: Kind, start: number, parent: string | undefined) {
    this.trace = trace;
    this.#rest = { name, kind, start, parent };
  }

  /** As the next one in the row is told of it. */
  get traceparent(): string {
    return traceparent({ trace: this.trace.id, span: this.id, sampled: true });
  }

  set(attributes: Attributes): this {
    Object.assign(this.#attributes, attributes);
    return this;
  }

  child(name: string, kind: Kind, start: number): Span {
    return this.trace.span(name, kind, start, this);
  }

  /** Once. */
  end(at: number, error?: string): void {
    if (!this.#open) return;
    this.#open = false;
    this.trace.add({ ...this.#rest, trace: this.trace.id, span: this.id, end: at, attributes: this.#attributes, error });
  }
}

/** `name=value` pairs, values percent-encoded as OpenTelemetry has them. */
export function headersIn(value: string | undefined): Record<string, string> {
  const given = parseSetting('OTEL_EXPORTER_OTLP_HEADERS', value);
  const pairs = String(given ?? '')
    .split(',')
    .filter((p) => p.includes('='));
  return Object.fromEntries(pairs.map((p) => [p.slice(0, p.indexOf('=')).trim(), decodeURIComponent(p.slice(p.indexOf('=') + 1).trim())]));
}
