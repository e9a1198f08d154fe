/**
 * Stages as facets of the replica's object (Worker Loader): an isolate of its own each, in the replica's process and thread, and no Worker to be
 * deployed beside it. The same class answers as in a Worker of its own (durable-objects/stage), to the same calls.
 */
import type { StageObject } from '../stage/wire.ts';

/** What a replica is bound to that has its stages beside it. */
export interface FacetEnv {
  STAGE_LOADER?: WorkerLoader;
  /** The stage's Worker, built: its files, and how it is to be run. */
  STAGE_FILES?: Fetcher;
  STAGE_CODE?: { compatibilityDate: string; compatibilityFlags: string[]; modules: string[] };
  ASSETS?: Fetcher;
}

/** Of the object that lives now: weights, and what calls stages, belong to the isolate and outlive it. */
let facets: DurableObjectFacets | undefined;

/** The object whose facets stages are from now on. */
export function hostStages(object: DurableObjectState): void {
  facets = object.facets;
}

const nameOf = (stage: number): string => `stage-${stage}`;
/** How often each was aborted. */
const aborted = new Map<number, number>();

/** The stage of that number beside the replica, or undefined where stages are no facets here. A new stub for every call: one that failed stays broken. */
export function stageFacet(env: FacetEnv, stage: number): (() => StageObject) | undefined {
  const { STAGE_LOADER: loader, STAGE_FILES: files, STAGE_CODE: code } = env;
  if (!loader || !files || !code) return undefined;
  const { modules, ...compatibility } = code;
  const load = async (): Promise<WorkerLoaderWorkerCode> => ({
    ...compatibility,
    mainModule: modules[0],
    modules: Object.fromEntries(await Promise.all(modules.map(async (name) => [name, await moduleOf(files, name)] as const))),
    env: { ...varsOf(env), ASSETS: env.ASSETS },
  });
  // an isolate for each id, and after an abort another one: nothing of what went wrong is left
  const id = () => [nameOf(stage), ...(aborted.has(stage) ? [aborted.get(stage)] : [])].join('-');
  const start = () => ({ class: loader.get(id(), load).getDurableObjectClass('Stage') });
  return () => {
    if (!facets) throw new Error('no object has these stages');
    return facets.get(nameOf(stage), start) as unknown as StageObject;
  };
}

/** Ends a stage's facet and leaves its isolate, as the host does with one that holds too much; the next call starts it again, with nothing in it. */
export function abortStage(stage: number): void {
  aborted.set(stage, (aborted.get(stage) ?? 0) + 1);
  facets?.abort(nameOf(stage), new Error('the stage was aborted'));
}

async function moduleOf(files: Fetcher, name: string): Promise<WorkerLoaderModule> {
  const file = await files.fetch(`https://files/${name}`);
  if (!file.ok) throw new Error(`the stage's ${name} is not there (${file.status})`);
  return name.endsWith('.wasm') ? { wasm: await file.arrayBuffer() } : { js: await file.text() };
}

/** What of the settings a stage is told: its memory, and where traces go. */
const varsOf = (env: object): Record<string, unknown> =>
  Object.fromEntries(Object.entries(env).filter(([name]) => name === 'MEMORY_MB' || name.startsWith('OTEL_')));
