/** `turnstone run`: one answer, or a conversation in the terminal. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { ask, baseOf, type Chat, costOf, models, type Sampling } from '../chat/ask.ts';
import { converse } from '../chat/terminal.ts';
import { progress } from '../progress.ts';
import { startServer } from '../start.ts';

export interface RunFlags {
  /** A server that runs already, instead of one of its own. */
  url?: string;
  system?: string;
  temperature?: number;
  maxTokens?: number;
  seed?: number;
  memoryMb?: number;
  context?: number;
  /** Tokens and times, on the error output. */
  figures?: boolean;
  /** The whole answer as one JSON object. */
  json?: boolean;
}

/** Answers `prompt` (a `-` at its end stands for what is piped in), or what is piped in, or talks. The exit code is 130 where Ctrl-C ended it. */
export async function runCommand(model: string | undefined, prompt: readonly string[], o: RunFlags): Promise<void> {
  process.umask(0o077);
  const reads = prompt.length === 0 ? !process.stdin.isTTY : prompt.at(-1) === '-';
  const piped = reads ? (await text(process.stdin)).trim() : '';
  const question = [prompt.join(' ').replace(/(^| )-$/, ''), piped].filter(Boolean).join('\n\n');
  if (!question && reads) throw new Error('nothing to answer: give a prompt, or pipe one in');
  const { chat, stop } = await served(model, o);
  const sampling: Sampling = { temperature: o.temperature, max_tokens: o.maxTokens, seed: o.seed };
  try {
    if (!question)
      return await converse({ chat, sampling, system: o.system, figures: o.figures, input: process.stdin, output: process.stdout });
    const cancel = new AbortController();
    process.once('SIGINT', () => cancel.abort());
    const messages = [...(o.system ? [{ role: 'system' as const, content: o.system }] : []), { role: 'user' as const, content: question }];
    const answer = await ask(chat, messages, sampling, (piece) => o.json || process.stdout.write(piece), cancel.signal).catch((error) => {
      if (!cancel.signal.aborted) throw error;
      process.exitCode = 130;
    });
    if (!answer) return;
    process.stdout.write(o.json ? `${JSON.stringify({ model: chat.model, ...answer })}\n` : '\n');
    if (o.figures) console.error(costOf(answer));
  } finally {
    await stop();
  }
}

/** A server for a command: one that runs already, or one of its own that ends with `stop`. */
export const served = (model: string | undefined, o: Pick<RunFlags, 'url' | 'memoryMb' | 'context'>): Promise<Served> =>
  o.url ? running(o.url, model) : own(model, o);

interface Served {
  chat: Chat;
  stop(): Promise<void>;
}

/** A server that runs already; API_KEY opens it. */
async function running(url: string, model: string | undefined): Promise<Served> {
  const key = process.env.API_KEY || undefined;
  const base = baseOf(url);
  const there = await models(base, key);
  if (model && !there.includes(model)) throw new Error(`${base} has no model ${model}; it has ${there.join(', ')}`);
  return { chat: { url: base, model: model ?? there[0], key }, stop: async () => {} };
}

/** A server for this command alone: on a free port of loopback, behind a key that nobody else has, its data gone with it. */
async function own(model: string | undefined, o: Pick<RunFlags, 'memoryMb' | 'context'>): Promise<Served> {
  const folder = mkdtempSync(join(tmpdir(), 'turnstone-run-'));
  const key = randomBytes(24).toString('hex');
  const gone = () => rmSync(folder, { recursive: true, force: true });
  const show = progress();
  show(`${model ?? process.env.MODEL ?? 'the shipped model'} is started …`);
  const server = await startServer({
    port: 0,
    model: model ?? process.env.MODEL,
    persist: folder,
    vars: { API_KEYS: key, MEMORY_MB: o.memoryMb?.toString() ?? process.env.MEMORY_MB, CONTEXT: o.context?.toString() },
    say: (line) => {
      show();
      console.error(line);
    },
  })
    .catch((error: unknown) => {
      gone();
      throw error;
    })
    .finally(show);
  const stop = async () => {
    await server.stop();
    gone();
  };
  for (const [signal, code] of [
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const)
    process.once(signal, () => void stop().finally(() => process.exit(code)));
  return { chat: { url: server.url, model: server.pack.id, key }, stop };
}
