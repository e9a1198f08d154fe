/**
 * Runs test files again and again in one process, which costs little beside the tests themselves. `npm run mutate` starts it in its copy
 * of the repository (argv: the copy, vitest's configuration) and sends what to run; whatever hangs is ended with this process.
 */
import { createVitest } from 'vitest/node';

/** The files, in this order, until one fails; `changed` was written since the last time. */
export interface Ask {
  changed?: string;
  files: string[];
}
/** What the file that failed said. */
export interface Answer {
  failed?: { file: string; said: string };
}

const [root, config] = process.argv.slice(2) as [string, string];
const vitest = await createVitest('test', { root, config, watch: false, reporters: [{}] });
await vitest.standalone();

async function run({ changed, files }: Ask): Promise<Answer> {
  if (changed !== undefined) vitest.invalidateFile(changed);
  for (const file of files) {
    vitest.state.filesMap.clear();
    vitest.state.errorsSet.clear();
    await vitest.runTestSpecifications(vitest.getModuleSpecifications(`${root}/${file}`));
    const ran = vitest.state.getFiles();
    const faults = vitest.state.getUnhandledErrors().map(String);
    const bad = ran.filter((f) => f.result?.state === 'fail');
    for (const f of bad) {
      faults.push(...(f.result?.errors ?? []).map((e) => e.message));
      const inside = (tasks: typeof f.tasks): string[] =>
        tasks.flatMap((t) =>
          (t.result?.state === 'fail' ? [t.name, ...(t.result.errors ?? []).map((e) => e.message)] : []).concat(
            t.type === 'suite' ? inside(t.tasks) : [],
          ),
        );
      faults.push(...inside(f.tasks));
    }
    if (ran.length === 0) faults.push('no such test');
    if (bad.length > 0 || faults.length > 0) return { failed: { file, said: faults.join('\n') } };
  }
  return {};
}

process.on('message', async (ask: Ask) => {
  process.send?.(await run(ask).catch((error): Answer => ({ failed: { file: '', said: String(error) } })));
});
process.send?.('ready');
