/** W3C Trace Context: who asked, as `traceparent` says it (https://www.w3.org/TR/trace-context/, version 00). */

export interface TraceContext {
  /** 32 hexadecimal digits. */
  trace: string;
  /** 16, of the span that asks. */
  span: string;
  sampled: boolean;
}

const FORM = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const NONE = /^0+$/;

/** Undefined where there is none, or it is damaged: then it is as if nobody had said anything. */
export function readTraceparent(header: string | null | undefined): TraceContext | undefined {
  const [, version, trace, span, flags, more] = FORM.exec((header ?? '').trim().slice(0, 256)) ?? [];
  if (!version || version === 'ff' || (version === '00' && more !== undefined) || NONE.test(trace) || NONE.test(span)) return undefined;
  return { trace, span, sampled: (Number.parseInt(flags, 16) & 1) === 1 };
}

export const traceparent = ({ trace, span, sampled }: TraceContext): string => `00-${trace}-${span}-${sampled ? '01' : '00'}`;

/** So many random bytes as hexadecimal digits, never all zero. */
export function newId(bytes: 8 | 16): string {
  const id = Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (b) => b.toString(16).padStart(2, '0')).join('');
  return NONE.test(id) ? newId(bytes) : id;
}
