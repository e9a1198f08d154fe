/** The process that the Python package starts: answers its calls, one after the other, until stdin ends. */

import { devices } from './device.ts';
import { type Arr, frames, send } from './frames.ts';
import { kernels } from './kernels.ts';
import { onboarding } from './onboard.ts';

export interface Answer {
  readonly value?: unknown;
  readonly arrays?: readonly Arr[];
}

export type Call = (args: Record<string, unknown>, arrays: readonly Arr[]) => Answer | Promise<Answer>;

const calls: Record<string, Call> = { ...onboarding, ...kernels, ...devices };

// what programs print goes to stderr: stdout is the wire
console.log = console.error;

for await (const { head, arrays } of frames(process.stdin)) {
  try {
    const name = String(head.call);
    if (!Object.hasOwn(calls, name)) throw new Error(`no call ${JSON.stringify(name)}, have ${Object.keys(calls).join(', ')}`);
    const answer = await calls[name]((head.args ?? {}) as Record<string, unknown>, arrays);
    send(process.stdout, { ok: true, value: answer.value ?? null }, answer.arrays);
  } catch (e) {
    send(process.stdout, { ok: false, error: e instanceof Error ? e.message : String(e) });
  }
}
