/** `turnstone pull`, `list`, `show` and `rm`: the models on this machine. */

import { quantOf } from '../hub/choose.ts';
import { CATALOGUE, type Entry, parseName } from '../hub/names.ts';
import { pull } from '../hub/pull.ts';
import { ModelStore, type StoredModel } from '../hub/store.ts';
import { progress } from '../progress.ts';
import { count, size, table } from '../table.ts';

type Say = (line: string) => void;

const bytesOf = (m: StoredModel): number => m.files.reduce((n, f) => n + f.bytes, 0);

/** Brings a model with its progress on the terminal. Ctrl-C ends it; the next try goes on from there. */
export async function pullCommand(
  name: string,
  o: { memoryMb?: number; json?: boolean } = {},
  say: Say = console.log,
): Promise<StoredModel> {
  const stop = new AbortController();
  const cancel = () => stop.abort(new Error(`cancelled; "turnstone pull ${name}" goes on from here`));
  process.once('SIGINT', cancel);
  try {
    const model = await pull(name, {
      endpoint: process.env.HF_ENDPOINT,
      token: process.env.HF_TOKEN,
      signal: stop.signal,
      memoryBytes: (o.memoryMb ?? 128) * 2 ** 20,
      say: o.json ? console.error : say,
      progress: progressLine(),
    });
    const place = new ModelStore().pathOf(model);
    say(o.json ? JSON.stringify({ ...model, place }, null, 2) : `${model.name} is here: ${place}`);
    return model;
  } catch (error) {
    throw stop.signal.aborted ? stop.signal.reason : error;
  } finally {
    process.off('SIGINT', cancel);
  }
}

/** All models in the store, and what the catalogue has beside them. */
export function listCommand(o: { json?: boolean } = {}, say: Say = console.log): void {
  const store = new ModelStore();
  const models = store.list();
  if (o.json) {
    say(JSON.stringify(models, null, 2));
    return;
  }
  const rows = models.map((m) => [m.name, size(bytesOf(m)), quantOf(m.main) || 'safetensors', m.licence, m.pulled.slice(0, 10)]);
  if (rows.length > 0) for (const line of table(['name', 'size', 'format', 'licence', 'pulled'], rows)) say(line);
  else say('no models yet');
  const parts = store.unfinished();
  if (parts.length > 0) {
    const bytes = parts.reduce((n, p) => n + p.bytes, 0);
    say(`${count(parts.length)} unfinished, ${size(bytes)}: pull again to go on, or "turnstone rm --unfinished"`);
  }
  const others = Object.entries(CATALOGUE).filter(([name]) => !models.some((m) => m.name === name));
  if (others.length === 0) return;
  say('');
  say('to pull:');
  for (const line of table(
    ['name', 'parameters', 'isolates', 'licence', 'good for'],
    others.map(([n, e]) => [n, e.parameters, String(e.isolates), e.licence, e.about]),
  ))
    say(`  ${line}`);
}

const memory = ({ isolates, context }: Entry): string =>
  `${isolates === 1 ? 'one isolate' : `${isolates} isolates`} of 128 MB, ${count(context)} tokens of context`;

const measured = ({ perplexity, decode, of }: NonNullable<Entry['measured']>): string =>
  [perplexity && `perplexity ${perplexity}`, decode && `${decode} tokens/s`].filter(Boolean).join(', ') + (of ? `, of ${of}` : '');

/** What is known of one model. */
export function showCommand(name: string, o: { json?: boolean } = {}, say: Say = console.log): void {
  const store = new ModelStore();
  const m = store.get(name);
  const wanted = parseName(name);
  if (o.json) {
    const place = m && store.pathOf(m);
    const { licence, parameters, bytes, sha256, isolates, context, measured, about } = wanted.entry ?? {};
    const known = { name: wanted.name, repo: wanted.repo, revision: m?.commit ?? wanted.revision, licence: m?.licence ?? licence };
    const told = { parameters, bytes, sha256, isolates, context, measured, about };
    say(JSON.stringify({ ...known, ...told, place, files: m?.files ?? [] }, null, 2));
    return;
  }
  for (const [key, value] of [
    ['name', wanted.name],
    ['source', `hf:${wanted.repo}@${m?.commit ?? wanted.revision}`],
    ['licence', m?.licence ?? wanted.entry?.licence],
    ['parameters', wanted.entry?.parameters],
    ['size', wanted.entry?.bytes ? size(wanted.entry.bytes) : undefined],
    ['SHA-256', wanted.entry?.sha256],
    ['memory', wanted.entry && memory(wanted.entry)],
    ['measured', wanted.entry?.measured && measured(wanted.entry.measured)],
    ['good for', wanted.entry?.about],
    ['place', m ? store.pathOf(m) : `not here; "turnstone pull ${name}" brings it`],
  ]) {
    if (value) say(`${key!.padEnd(11)} ${value}`);
  }
  if (m)
    for (const line of table(
      ['file', 'size', 'content'],
      m.files.map((f) => [f.path, size(f.bytes), f.blob]),
    ))
      say(line);
}

/** Takes models out of the store. */
export async function rmCommand(names: readonly string[], o: { unfinished?: boolean } = {}, say: Say = console.log): Promise<void> {
  const store = new ModelStore();
  if (names.length === 0 && !o.unfinished) throw new Error('name a model, or give --unfinished');
  for (const name of names) {
    const freed = await store.remove(name);
    if (freed === undefined) throw new Error(`there is no model ${name} here; "turnstone list" shows those that are`);
    say(`${name} is gone, ${size(freed)} are free`);
  }
  if (o.unfinished) say(`${size(await store.removeUnfinished())} of unfinished downloads are gone`);
}

/** A line with speed and time left. */
function progressLine(): (bytes: number, of: number) => void {
  const began = performance.now();
  let first: number | undefined;
  let last = 0;
  const show = progress();
  return (bytes, of) => {
    first ??= bytes;
    const now = performance.now();
    const whole = bytes === of;
    if (!whole && now - last < 200) return;
    last = now;
    const rate = (bytes - first) / Math.max(1, now - began); // bytes a ms
    const left = rate > 0 ? Math.ceil((of - bytes) / rate / 1000) : undefined;
    const line = `${Math.floor((100 * bytes) / Math.max(1, of))} %  ${size(bytes)} of ${size(of)}  ${size(Math.round(rate * 1000))}/s${left === undefined || whole ? '' : `  ${left} s left`}`;
    show(whole ? undefined : line);
  };
}
