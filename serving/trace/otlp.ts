/** OTLP/HTTP in JSON (opentelemetry.io/docs/specs/otlp, 1.5): what a collector takes at `/v1/traces`. */

/** Numbers as OTLP has them. */
export const KIND = { internal: 1, server: 2, client: 3 } as const;
export type Kind = keyof typeof KIND;

export type Attributes = Record<string, string | number | boolean | undefined>;

export interface SpanRecord {
  trace: string;
  span: string;
  parent?: string;
  name: string;
  kind: Kind;
  /** ms since 1970 */
  start: number;
  end: number;
  attributes: Attributes;
  /** It failed, and what is said of it: never content. */
  error?: string;
}

const OK = 0; // unset: nobody said that it went wrong
const ERROR = 2;

const anyValue = (v: string | number | boolean) =>
  typeof v === 'string'
    ? { stringValue: v.slice(0, 256) }
    : typeof v === 'boolean'
      ? { boolValue: v }
      : Number.isInteger(v)
        ? { intValue: String(v) }
        : { doubleValue: v };

const list = (attributes: Attributes) =>
  Object.entries(attributes).flatMap(([key, v]) => (v === undefined ? [] : [{ key, value: anyValue(v) }]));

/** ms to the ns that OTLP counts, as text: they do not fit a double. */
const nanos = (ms: number): string => `${Math.round(ms * 1000)}000`;

/** The body of an export. `resource`: of what runs here. */
export const exportOf = (resource: Attributes, spans: readonly SpanRecord[]) => ({
  resourceSpans: [
    {
      resource: { attributes: list(resource) },
      scopeSpans: [
        {
          scope: { name: 'turnstone' },
          spans: spans.map((s) => ({
            traceId: s.trace,
            spanId: s.span,
            ...(s.parent !== undefined && { parentSpanId: s.parent }),
            name: s.name,
            kind: KIND[s.kind],
            startTimeUnixNano: nanos(s.start),
            endTimeUnixNano: nanos(Math.max(s.start, s.end)),
            attributes: list(s.attributes),
            status: s.error === undefined ? { code: OK } : { code: ERROR, message: s.error.slice(0, 256) },
          })),
        },
      ],
    },
  ],
});
