import { readAzureTrace, replayTable, replayTrace, simulateAll, simulationTable } from '../simulate.ts';

export interface SimulateFlags {
  model: string;
  device: string;
  prompt: string[];
  batch: number;
  chips: number;
  trace?: string;
}

/** Prints one simulation a prompt length, or a trace replayed under the four placings. */
export async function simulateCommand(o: SimulateFlags): Promise<void> {
  const { model, device, batch, chips } = o;
  if (o.trace) {
    console.log(replayTable(replayTrace(readAzureTrace(o.trace), { model, device, chips }).replays));
    return;
  }
  const prompts = o.prompt.map(Number);
  if (prompts.some((n) => !Number.isInteger(n) || n < 1 || n > 1 << 20))
    throw new Error(`--prompt: lengths must be integers in 1..${1 << 20}`);
  console.log(simulationTable(simulateAll({ model, device, prompts, batch, chips })));
}
