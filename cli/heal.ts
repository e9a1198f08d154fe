import { readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { schedulerOf } from '../durable-objects/scheduler/port.ts';
import { again } from '../serving/retry.ts';
import type { Objects } from './workerd/objects.ts';

/**
 * The queue's object heals what is damaged in its rows, but cannot even begin when its file is no database any more. Such a file is put
 * aside: the queue can be made anew, and without it nothing is served. `folder`: of the Durable Objects.
 */
export async function healQueue(objects: Objects, folder: string, say: (line: string) => void): Promise<void> {
  const SCHEDULER = objects.namespace('SCHEDULER') as never;
  const answers = () => again(() => schedulerOf({ SCHEDULER }).stats());
  try {
    await answers();
  } catch (error) {
    const files = join(folder, 'turnstone-Scheduler');
    const kept = `.damaged-${Date.now()}`;
    for (const name of readdirSync(files)) if (/^[0-9a-f]{64}\.sqlite/.test(name)) renameSync(join(files, name), join(files, name + kept));
    say(
      `The queue's file was damaged (${error instanceof Error ? error.message : error}): it begins anew, the old one is ${files}/*${kept}.`,
    );
    await answers();
  }
}
