/** The real server, as `npm start` runs it, on a port of its own and storage of its own. */

import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ROOT } from '../../cli/build.ts';
import { localPack } from '../../cli/packs.ts';
import { type Server, startServer } from '../../cli/start.ts';

const SHIPPED = join(ROOT, 'models/pebble');
const STORIES = fileURLToPath(new URL('../../../shared/data/models/stories260K/stories260K-f32.gguf', import.meta.url));
const shipped = existsSync(join(SHIPPED, 'model.json')) || existsSync(join(SHIPPED, 'hf'));

/** Why there is no server to test, or null. */
export const missing: string | null = shipped || existsSync(STORIES) ? null : 'neither models/pebble nor ../shared/data/models is there';

/** A story teller has no chat template; a conversation is its text. */
const TEMPLATE = '{{ bos_token }}{% for m in messages %}{{ m.content }} {% endfor %}';

/** `keep`: a port and storage that outlive the server. `processes`: all of them compute when it resolves. `given`: another model's path. `stages`: what it is cut into. `patienceMs`: with stages that hang. `stagesIn`: where stages are. */
export async function startTestServer(
  vars: Record<string, string>,
  keep?: { port: number; persist: string },
  processes = 1,
  given?: string,
  stages?: number,
  patienceMs?: number,
  adapters?: ReadonlyMap<string, string>,
  stagesIn?: 'processes' | 'facets',
): Promise<Server & { model: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'turnstone-test-'));
  const model = given ?? (shipped ? undefined : await withTemplate(folder));
  const server = await startServer({
    port: keep?.port ?? 0,
    model,
    persist: keep?.persist ?? join(folder, 'state'),
    processes,
    ...{ stages, stagesIn, patienceMs, adapters },
    vars,
  });
  await server.whole;
  return {
    ...server,
    model: server.pack.id,
    stop: async () => {
      await server.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function withTemplate(folder: string): Promise<string> {
  const pack = await localPack(STORIES, () => {});
  const copy = join(folder, 'stories');
  cpSync(pack.folder, copy, { recursive: true });
  const manifest = join(copy, 'model.json');
  writeFileSync(manifest, JSON.stringify({ ...JSON.parse(readFileSync(manifest, 'utf8')), chatTemplate: TEMPLATE }));
  return copy;
}
