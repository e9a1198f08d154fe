/** `turnstone deploy`: a model to a Cloudflare account, with all that it needs there. */
import { join, relative, resolve } from 'node:path';
import { costOf } from '../../policy/cost.ts';
import { faultsIn, misspelt, readNumber, SETTINGS, type SettingName } from '../../policy/settings.ts';
import { isolatesOf } from '../../policy/stages.ts';
import { build, buildId, INSTALLED, ROOT } from '../build.ts';
import { cutPack } from '../cut.ts';
import { BUCKET, bytesOf, does, encoderPack, modelPack, objectsOf, openBucket, type Say, upload } from '../deploy/account.ts';
import { writeRecord } from '../deploy/record.ts';
import { checkName, type Script, writeDeployment } from '../deploy/scripts.ts';
import { type Ask, askHere, checkSecrets, setSecrets } from '../deploy/secrets.ts';
import { remove, rollBack, tagOf } from '../deploy/versions.ts';
import { findModel } from '../hub/find.ts';
import { localPack } from '../packs.ts';
import { size, table } from '../table.ts';
import { runWrangler, type Wrangler } from '../wrangler.ts';

export interface DeployFlags {
  name: string;
  out?: string;
  format?: string;
  stages?: number;
  context?: number;
  dryRun?: boolean;
  /** False: no embeddings. */
  embedder?: boolean;
  /** An embedding pack's folder; default: the shipped one. */
  embedModel?: string;
  /** Figures of requests go to Analytics Engine. */
  analytics?: boolean;
  /** NAME=VALUE, settings. */
  var?: string[];
  /** Back to that deployment; true: to the one before. */
  rollback?: string | true;
  remove?: boolean;
  /** Of `remove`: nothing is asked. */
  yes?: boolean;
  /** Of a dry run: the plan, its price and what each script weighs, as JSON. */
  json?: boolean;
}
/** What an isolate of each script holds at most; what a replica and a stage take is planned before they load (engine/plan.ts). */
const MOST: Record<Script['holds'], string> = {
  'a stage': 'its layers, their pages, scratch',
  embeddings: 'ONNX Runtime, a sentence encoder: as planned (embedder/memory.ts)',
  replicas: 'weights, pages, scratch, JavaScript: as planned',
  'sessions, queue': 'transcripts of what runs (8 MB each at most), an index of pages, 1 MiB a reader, the queue',
  'routes, page': 'request bodies, as long as the context can hold',
};

/** Says what it will do and what that costs, tries every script, then does it. Rejects with what to do; done again it goes on where it ended. */
export async function deployCommand(
  source: string | undefined,
  o: DeployFlags,
  print: Say = console.log,
  wrangler: Wrangler = runWrangler,
  ask: Ask = askHere,
) {
  if (o.json && !o.dryRun) throw new Error('--json is of --dry-run');
  const say = o.json ? console.error : print;
  if (INSTALLED) throw new Error('deploy works in a clone of Turnstone; a Worker of your own (turnstone init) has npm run deploy');
  checkName(o.name);
  const out = resolve(o.out ?? join(ROOT, '.wrangler/deploy', o.name));
  if (o.rollback) return rollBack(wrangler, out, o.name, o.rollback === true ? undefined : o.rollback, say, o.dryRun);
  if (o.remove) return remove(wrangler, out, o.name, o, ask, say);
  checkSecrets(process.env);
  const found = await findModel(source, { memoryMb: 128 });
  const pack = await localPack(found?.path, say, o.format, found?.id);
  const vars: Record<string, string> = { ...settings(o.var ?? []), ...(o.context !== undefined && { CONTEXT: String(o.context) }) };
  const plan = await cutPack(pack, { ...vars, REPLICAS: '1' }, o.stages, say); // each isolate is planned for one
  for (const name of ['REPLICAS', 'CELLS'] as const)
    if (plan && readNumber(name, vars) > 1) throw new Error(`--var ${name}=${vars[name]}: a model in stages has one replica`);
  const encoder = o.embedder === false ? undefined : encoderPack(o.embedModel);
  const scripts = writeDeployment({
    model: pack.id,
    plan,
    encoder: encoder?.id,
    analytics: o.analytics,
    out,
    name: o.name,
    vars,
    shared: telemetry(vars),
  });
  const model = await modelPack(pack);
  const packs = [model, ...(encoder ? [encoder] : [])];
  const bytes = packs.reduce((n, p) => n + bytesOf(p), 0);
  const isolates = plan ? isolatesOf(plan) : 1;
  writeRecord(out, { scripts, objects: packs.flatMap(objectsOf) });

  say(`${pack.id}, ${size(bytesOf(model))}, in ${isolates} isolate${isolates > 1 ? 's' : ''} of 128 MB a replica:\n`);
  const rows = scripts.map(({ name, holds, path }) => [name, holds, MOST[holds], short(path)]);
  for (const line of table(['script', 'holds', 'at most, of 128 MB an isolate', 'configuration'], rows)) say(`  ${line}`);
  say(`  ${model.files.length} files of the pack (${model.tensors} tensors) go to the bucket ${BUCKET}, under ${pack.id}/`);
  if (encoder) say(`  ${encoder.files.length} files of the sentence encoder, ${size(bytesOf(encoder))}, under ${encoder.id}/`);
  say('');
  const cost = costOf({ isolates, packBytes: bytes });
  say(`Beyond what the paid plan includes: ${dollars(cost.hour)} an hour of computing, ${dollars(cost.month)} a month for the pack in R2,`);
  say(
    `${isolates > 1 ? `${dollars(cost.thousandSteps)} a thousand tokens of one stream for the calls between stages, ` : ''}and requests (policy/cost.ts has the prices).\n`,
  );

  await build(say, ['wasm', 'page']);
  const uploads: Record<string, string> = {};
  for (const { name, path } of scripts) {
    const said = await wrangler(['deploy', '--dry-run', '--config', path]);
    uploads[name] = /Total Upload: .*/.exec(said)?.[0] ?? 'the dry run passes';
    say(`  ${name}: ${uploads[name]}`);
  }
  if (o.json) {
    const all = scripts.map(({ name, holds, path }) => ({ name, holds, path, upload: uploads[name] }));
    return print(JSON.stringify({ model: pack.id, bytes, isolates, scripts: all, cost }, null, 2));
  }
  if (o.dryRun) {
    say('\nNothing was changed. Without --dry-run the same is done in your account.');
    return;
  }
  await wrangler(['whoami']).catch(() => {
    throw new Error('no account: npx wrangler login, or set CLOUDFLARE_API_TOKEN and CLOUDFLARE_ACCOUNT_ID');
  });
  await openBucket(wrangler, say);
  for (const p of packs) await upload(wrangler, p, out, say);
  for (const { name, first } of scripts) {
    if (!first || (await does(wrangler(['deployments', 'list', '--config', first])))) continue;
    await wrangler(['deploy', '--config', first]); // so that it can be bound
    say(`  ${name} is made`);
  }
  const tag = tagOf(new Date(), buildId());
  for (const { name, path } of scripts) {
    const said = await wrangler(['deploy', '--config', path, '--tag', tag]);
    const address = /https:\/\/\S+/.exec(said)?.[0];
    say(`  ${name} is deployed${address ? ` at ${address}` : ''}`);
  }
  await setSecrets(wrangler, scripts, process.env, ask, say);
  say(`\nThis deployment is ${tag}; turnstone deploy --rollback goes back to the one before, --rollback ${tag} comes back to this one.`);
}

/** What stages are told, too. */
const telemetry = (vars: Readonly<Record<string, string>>) =>
  Object.fromEntries(Object.entries(vars).filter(([name]) => name.startsWith('OTEL_')));

/** Settings as they are written, `MAX_QUEUE=100`. Throws naming the one that is none, is a secret, or is the launcher's own. */
function settings(pairs: readonly string[]): Record<string, string> {
  const given = Object.fromEntries(
    pairs.map((pair): [string, string] => {
      const at = pair.indexOf('=');
      if (at < 1) throw new Error(`--var ${pair}: must be NAME=VALUE`);
      return [pair.slice(0, at), pair.slice(at + 1)];
    }),
  );
  for (const name of Object.keys(given)) {
    const setting = Object.hasOwn(SETTINGS, name) ? (SETTINGS[name as SettingName] as { secret?: boolean; launcher?: boolean }) : undefined;
    const [near] = misspelt([name]);
    if (!setting)
      throw new Error(`--var ${name}: there is no such setting${near ? `; did you mean ${near.meant}?` : ' (docs/settings.md)'}`);
    if (setting.secret) throw new Error(`--var ${name}: it is a secret; set it in the environment of this command`);
    if (setting.launcher) throw new Error(`--var ${name}: it is for npm start alone`);
  }
  const faults = faultsIn(given);
  if (faults.length > 0) throw new Error(faults.join('\n'));
  return given;
}

const short = (path: string) => relative(process.cwd(), path);
const dollars = (n: number) => `$${n < 0.01 ? n.toPrecision(2) : n.toFixed(3)}`;
