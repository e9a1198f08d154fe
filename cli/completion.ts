/** `turnstone complete SHELL`: what the shell asks on the tab key. */
import tab from '@bomb.sh/tab/commander';
import type { Command } from 'commander';
import { CATALOGUE } from './hub/names.ts';
import { ModelStore } from './hub/store.ts';
import { flagsOfSettings } from './settings.ts';

/** Adds the command. Settings are flags of `start`, hidden in its help as they stand there as variables; models are those here and of the catalogue. */
export function addCompletion(program: Command): void {
  const completion = tab(program);
  const start = completion.commands.get('start');
  for (const { flag, help, values } of flagsOfSettings())
    start?.option(flag, help, (add) => {
      for (const value of values) add(value, '');
    });
  for (const name of ['start', 'run', 'pull', 'show', 'rm', 'stages', 'deploy', 'inspect', 'bench'])
    completion.commands.get(name)?.argument('model', (add) => {
      for (const model of new Set([...new ModelStore().list().map((m) => m.name), ...Object.keys(CATALOGUE)]))
        add(model, CATALOGUE[model]?.about ?? '');
    });
}
