/** The process that the Python package starts: answers its calls, one after the other, until stdin ends. */

import type { Call } from './call.ts';
import { devices } from './device.ts';
import { frames, send } from './frames.ts';
import { kernels } from './kernels.ts';
import { onboarding } from './onboard.ts';

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
