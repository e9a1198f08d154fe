/** `turnstone ps`: what a running server has loaded and computes. */
import { baseOf, get } from '../chat/ask.ts';
import { readMetrics } from '../prometheus.ts';
import { count, size, table } from '../table.ts';

export interface PsFlags {
  /** Default: where `npm start` listens. */
  url?: string;
  json?: boolean;
}

interface Listed {
  id: string;
  kind?: string;
  state?: string;
  bytes?: number;
  max_model_len?: number;
}

/** Rejects when nothing answers there, or asks for another key than API_KEY. */
export async function psCommand(
  { url = 'http://127.0.0.1:8787', json }: PsFlags,
  say: (line: string) => void = console.log,
): Promise<void> {
  const base = baseOf(url);
  const asked = async (path: string): Promise<Response> => {
    const response = await get(base, path, process.env.API_KEY);
    if (response.status === 401) throw new Error(`${base} asks for a key: set API_KEY`);
    if (!response.ok) throw new Error(`${base}${path} answered ${response.status}`);
    return response;
  };
  const { data } = (await (await asked('/v1/models')).json()) as { data: Listed[] };
  const figures = readMetrics(await (await asked('/metrics')).text());
  const models = data.map((m) => {
    const of = (name: string) => figures(`turnstone_${name}`, { model_name: m.id });
    const all = (name: string) => of(name).reduce((sum: number | undefined, n) => (sum ?? 0) + n, undefined);
    const kv = of('kv_cache_usage_perc');
    return {
      ...{ id: m.id, kind: m.kind ?? 'chat', state: m.state ?? 'loaded', bytes: m.bytes, context: m.max_model_len },
      ...{ running: all('num_requests_running'), waiting: all('num_requests_waiting') },
      kv: kv.length > 0 ? kv.reduce((a, b) => a + b) / kv.length : undefined,
    };
  });
  if (json) return say(JSON.stringify(models, null, 2));
  const rows = models.map((m) => [
    ...[m.id, m.kind, m.state, m.bytes ? size(m.bytes) : '', m.context ? count(m.context) : ''],
    ...[m.running ?? '', m.waiting ?? '', m.kv === undefined ? '' : `${Math.round(100 * m.kv)} %`].map(String),
  ]);
  for (const line of table(['name', 'kind', 'state', 'size', 'context', 'running', 'waiting', 'KV used'], rows)) say(line);
}
