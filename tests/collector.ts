/** A collector of OpenTelemetry traces: it takes OTLP over HTTP in JSON as its specification has it, and refuses what is not. */
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Told {
  part: string;
  service: string;
  trace: string;
  id: string;
  parent?: string;
  name: string;
  kind: number;
  /** ns since 1970 */
  start: bigint;
  end: bigint;
  attributes: Record<string, string | number | boolean>;
  error?: string;
}

type Value = { stringValue?: string; intValue?: string; doubleValue?: number; boolValue?: boolean };
type List = { key: string; value: Value }[];

const HEX = (digits: number) => new RegExp(`^[0-9a-f]{${digits}}$`);

function plain(list: List): Record<string, string | number | boolean> {
  return Object.fromEntries(
    list.map(({ key, value }) => {
      const [[kind, v], ...more] = Object.entries(value);
      if (more.length > 0) throw new Error(`${key} has two values`);
      if (kind === 'intValue' && typeof v !== 'string') throw new Error(`${key}: 64-bit integers are text in JSON`);
      return [key, kind === 'intValue' ? Number(v) : (v as string | number | boolean)];
    }),
  );
}

function read(body: string): Told[] {
  const { resourceSpans } = JSON.parse(body) as {
    resourceSpans: { resource: { attributes: List }; scopeSpans: { scope: { name: string }; spans: Record<string, unknown>[] }[] }[];
  };
  return resourceSpans.flatMap(({ resource, scopeSpans }) => {
    const of = plain(resource.attributes);
    return scopeSpans.flatMap(({ spans }) =>
      spans.map((s): Told => {
        const { traceId, spanId, parentSpanId, name, kind, startTimeUnixNano, endTimeUnixNano, attributes, status } = s as Record<
          string,
          never
        >;
        if (!HEX(32).test(traceId) || !HEX(16).test(spanId)) throw new Error(`ids ${traceId} ${spanId}`);
        if (parentSpanId !== undefined && !HEX(16).test(parentSpanId)) throw new Error(`parent ${parentSpanId}`);
        const [start, end] = [BigInt(startTimeUnixNano), BigInt(endTimeUnixNano)];
        if (end < start) throw new Error(`${name} ends before it begins`);
        const { code, message } = status as { code: number; message?: string };
        return {
          ...{ part: String(of['turnstone.part']), service: String(of['service.name']), trace: traceId, id: spanId, parent: parentSpanId },
          ...{ name, kind, start, end, attributes: plain(attributes), error: code === 2 ? (message ?? '') : undefined },
        };
      }),
    );
  });
}

/** Listens on loopback. `hang`: takes and never answers. */
export async function startCollector({ hang = false } = {}) {
  const spans: Told[] = [];
  const faults: string[] = [];
  const headers: IncomingHttpHeaders[] = [];
  const bodies: string[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (d) => {
      body += d;
    });
    request.on('end', () => {
      bodies.push(body);
      headers.push(request.headers);
      if (hang) return;
      try {
        if (request.method !== 'POST' || request.url !== '/v1/traces') throw new Error(`${request.method} ${request.url}`);
        spans.push(...read(body));
        response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
      } catch (error) {
        faults.push(String(error));
        response.writeHead(400).end();
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    ...{ spans, faults, headers, bodies },
    stop: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(resolve);
      }),
  };
}
