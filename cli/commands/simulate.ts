import { NUMBERS } from '../../simulator/simulate.ts';
import { progress } from '../progress.ts';
import { readAzureTrace, replayTable, replayTrace, simulateAll, simulationTable } from '../simulate.ts';

export interface SimulateFlags {
  model: string;
  device: string;
  prompt: string[];
  batch: number;
  chips: number;
  numbers: string;
  trace?: string;
  json?: boolean;
}

/** Prints one simulation a prompt length, or a trace replayed under the four placings. */
export async function simulateCommand(o: SimulateFlags): Promise<void> {
  const { model, device, batch, chips } = o;
  const show = progress();
  const numbers = NUMBERS.find((n) => n === o.numbers);
  if (!numbers) throw new Error(`--numbers is "${o.numbers}", must be one of ${NUMBERS.join(', ')}`);
  if (o.trace) {
    const { replays } = replayTrace(readAzureTrace(o.trace), { model, device, chips, numbers }, show);
    show();
    console.log(o.json ? JSON.stringify(replays, null, 2) : replayTable(replays));
    return;
  }
  const prompts = o.prompt.map(Number);
  if (prompts.some((n) => !Number.isInteger(n) || n < 1 || n > 1 << 20))
    throw new Error(`--prompt: lengths must be integers in 1..${1 << 20}`);
  const results = simulateAll({ model, device, prompts, batch, chips, numbers }, show);
  show();
  console.log(o.json ? JSON.stringify(results, null, 2) : simulationTable(results));
}
