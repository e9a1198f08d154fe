/** Back to an earlier deployment, and away with all of it. */
import { rmSync } from 'node:fs';
import type { Wrangler } from '../wrangler.ts';
import { BUCKET, type Say } from './account.ts';
import { type Deployed, recordOf } from './record.ts';
import type { Ask } from './secrets.ts';

/** Names a deployment in all its scripts: time and build, 24 characters. */
export const tagOf = (now: Date, build: string): string => `${now.toISOString().replace(/[-:]|\..*/g, '')}-${build.slice(0, 8)}`;

const TAG = 'workers/tag';

interface Version {
  id: string;
  metadata: { created_on: string };
  annotations?: Record<string, string>;
}

/** A script's versions by the deployment that they belong to: a secret that is set makes a version without a tag, of the deployment before it. Oldest first. */
async function versionsOf(wrangler: Wrangler, path: string): Promise<{ tag: string; ids: string[] }[]> {
  const all = JSON.parse(await wrangler(['versions', 'list', '--config', path, '--json'])) as Version[];
  const groups: { tag: string; ids: string[] }[] = [];
  for (const v of all.sort((a, b) => Date.parse(a.metadata.created_on) - Date.parse(b.metadata.created_on))) {
    const tag = v.annotations?.[TAG];
    const last = groups.at(-1);
    if (last && (tag === undefined || tag === last.tag)) last.ids.push(v.id);
    else groups.push({ tag: tag ?? '', ids: [v.id] });
  }
  return groups.filter((g) => g.tag !== '');
}

/**
 * Brings every script to what it was at an earlier deployment, the one before the present unless `wanted` names another: code, variables
 * and secrets. Which versions there are is asked of the account, which keeps the last ten. Rejects, before anything is changed, when a script has none of that name.
 */
export async function rollBack(
  wrangler: Wrangler,
  out: string,
  name: string,
  wanted: string | undefined,
  say: Say,
  dryRun = false,
): Promise<void> {
  const { scripts } = recordOf(out, name);
  const routes = scripts.at(-1) as Deployed['scripts'][number];
  const groups = await versionsOf(wrangler, routes.path);
  const live = JSON.parse(await wrangler(['deployments', 'status', '--config', routes.path, '--json'])) as {
    versions: { version_id: string }[];
  };
  const now = groups.findIndex((g) => live.versions.some((v) => g.ids.includes(v.version_id)));
  const tags = groups.map((g) => g.tag);
  const tag = wanted ?? tags[now - 1];
  if (tag === undefined || !tags.includes(tag))
    throw new Error(
      `${wanted ? `there is no deployment ${wanted}` : 'there is none before the present one'}; there are: ${tags.join(', ') || 'none'}`,
    );
  const steps: { name: string; path: string; id: string }[] = [];
  for (const s of scripts) {
    const id = (await versionsOf(wrangler, s.path).catch(() => [])).find((g) => g.tag === tag)?.ids.at(-1);
    if (id) steps.push({ name: s.name, path: s.path, id });
    else if (s.holds !== 'a stage')
      throw new Error(`${s.name} has no version of ${tag}: it is not among the last ten that the account lists`);
  }
  for (const s of steps) {
    if (!dryRun) await wrangler(['rollback', s.id, '--config', s.path, '--message', `back to ${tag}`, '--yes']);
    say(`  ${s.name} ${dryRun ? 'would be' : 'is'} what it was at ${tag} (${s.id})`);
  }
}

/** Erases scripts, with what their objects keep, and the pack's files. Asks for the name first, unless `yes`. */
export async function remove(
  wrangler: Wrangler,
  out: string,
  name: string,
  o: { yes?: boolean; dryRun?: boolean },
  ask: Ask,
  say: Say,
): Promise<void> {
  const { scripts, objects } = recordOf(out, name);
  say(`To be erased: the scripts ${scripts.map((s) => s.name).join(', ')}, with every session and stored response that they keep,`);
  say(`and ${objects.length} objects of the bucket ${BUCKET}. The bucket stays.`);
  if (o.dryRun) return say('Nothing was changed.');
  if (!o.yes && (await ask(`Type ${name} to go on: `))?.trim() !== name)
    throw new Error('nothing was changed; --yes goes on without being asked');
  for (const s of [...scripts].reverse()) {
    await unlessGone(wrangler(['delete', '--config', s.path, '--force']));
    say(`  ${s.name} is erased`);
  }
  for (const object of objects) await unlessGone(wrangler(['r2', 'object', 'delete', object, '--remote']));
  say(`  ${objects.length} objects are erased`);
  rmSync(out, { recursive: true, force: true }); // what was uploaded is not there any more
}

/** It may have been erased by an earlier try. */
async function unlessGone(call: Promise<unknown>): Promise<void> {
  await call.catch((error: unknown) => {
    if (!/does not exist|not found|10007|10090/i.test(String(error))) throw error;
  });
}
