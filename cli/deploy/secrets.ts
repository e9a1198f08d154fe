/** Secrets of a deployment: those set here are set there, and it gets a key before anybody can ask it. */
import { randomBytes } from 'node:crypto';
import { createInterface } from 'node:readline/promises';
import { parseSetting, SETTINGS, type SettingName } from '../../policy/settings.ts';
import type { Wrangler } from '../wrangler.ts';
import type { Say } from './account.ts';
import type { Script } from './scripts.ts';

/** Which scripts read it: the queue is told of keys too, since whether they are of several owners decides how it shares. */
const READ_BY: Record<string, readonly Script['holds'][]> = {
  API_KEYS: ['sessions, queue', 'routes, page'],
  ADMIN_KEY: ['routes, page'],
  NPU_SECRET: ['replicas', 'routes, page'],
  OTEL_EXPORTER_OTLP_HEADERS: ['a stage', 'sessions, queue', 'replicas', 'routes, page'],
};
const NAMES = Object.keys(READ_BY).filter((name) => Object.hasOwn(SETTINGS, name)) as SettingName[];

type Environment = Readonly<Record<string, string | undefined>>;

/** Asks whoever runs the command, if somebody does. */
export type Ask = (question: string) => Promise<string | undefined>;

export const askHere: Ask = async (question) => {
  if (!process.stdin.isTTY) return undefined;
  const line = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return await line.question(question);
  } finally {
    line.close();
  }
};

/** Throws naming the secret that is no such secret, before anything is done. */
export function checkSecrets(env: Environment): void {
  for (const name of NAMES) parseSetting(name, env[name]);
}

/** Sets what `env` has. A server without API_KEYS serves nobody: where it has none it is asked for, and one is made and shown once if nobody says any. */
export async function setSecrets(wrangler: Wrangler, scripts: readonly Script[], env: Environment, ask: Ask, say: Say): Promise<void> {
  const put = async (name: string, value: string) => {
    for (const s of scripts) if (READ_BY[name]?.includes(s.holds)) await wrangler(['secret', 'put', name, '--config', s.path], value);
  };
  for (const name of NAMES) {
    const value = env[name];
    if (!value) continue;
    await put(name, value);
    say(`  ${name} is set as it is here`);
  }
  if (env.API_KEYS) return;
  const { path } = scripts.at(-1) as Script;
  const there = JSON.parse(await wrangler(['secret', 'list', '--config', path, '--format', 'json'])) as { name: string }[];
  if (there.some((s) => s.name === 'API_KEYS')) return;
  const given = (await ask('API_KEYS, "key" or "name:key", comma-separated (empty: one is made): '))?.trim();
  if (given) {
    parseSetting('API_KEYS', given);
    return put('API_KEYS', given);
  }
  const made = `sk-${randomBytes(24).toString('hex')}`;
  await put('API_KEYS', `owner:${made}`);
  say(`\nIts key, which is shown this once: ${made}`);
}
