import { isRecord } from './json.ts';
import type { ModelCard } from './transport.ts';

const NAMES = ['temperature', 'topP', 'topK', 'minP', 'repetition', 'frequency', 'presence'] as const;
/** What the API takes where neither request nor model says anything. */
const OPENAI = { temperature: 1, topP: 1, topK: 0, minP: 0, repetition: 1, frequency: 0, presence: 0 };

/** What the server's pack says of the model: size and sampling defaults. Undefined where it is not given out. */
export async function fetchCard(id: string, key: string): Promise<ModelCard | undefined> {
  const headers: Record<string, string> = key ? { authorization: `Bearer ${key}` } : {};
  const response = await fetch(`/packs/${encodeURIComponent(id)}/model.json`, { headers }).catch(() => undefined);
  return response?.ok ? readCard(await response.json().catch(() => undefined)) : undefined;
}

export function readCard(manifest: unknown): ModelCard | undefined {
  if (!isRecord(manifest)) return undefined;
  const files = [manifest.tokenizer, ...(Array.isArray(manifest.shards) ? manifest.shards : [])];
  const bytes = files.reduce<number>((n, file) => n + (isRecord(file) && typeof file.bytes === 'number' ? file.bytes : 0), 0);
  const tensors = Array.isArray(manifest.tensors) ? manifest.tensors : [];
  const parameters = tensors.reduce<number>(
    (n, t) => n + (isRecord(t) && Array.isArray(t.shape) ? t.shape.reduce((a: number, b: unknown) => a * (Number(b) || 0), 1) : 0),
    0,
  );
  const said = isRecord(manifest.generation) ? manifest.generation : {};
  const given = (name: (typeof NAMES)[number]) => (typeof said[name] === 'number' ? said[name] : OPENAI[name]);
  return { bytes, parameters: parameters || undefined, defaults: Object.fromEntries(NAMES.map((name) => [name, given(name)])) };
}

/** 3.1 M, 135 M, 1.2 B */
export function count(n: number): string {
  const [value, unit] = n >= 1e9 ? [n / 1e9, 'B'] : [n / 1e6, 'M'];
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ${unit}`;
}
