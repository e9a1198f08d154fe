import type { Variables } from '../policy/settings.ts';
import { CLOCK, type Host } from './host.ts';
import { tellRoom } from './prompt-room.ts';
import type { Responses } from './responses/memory-sessions.ts';
import { dispatch, inEnvelope } from './run/dispatch.ts';
import type { Runtime } from './run/runtime.ts';

export interface InProcess {
  /** The model's name in the API. */
  model: string;
  /** The engine; another one after a device was lost. */
  runtime: () => Promise<Runtime>;
  /** Absent: nothing is stored. */
  responses?: Responses;
  vars?: Variables;
}

/** One engine of this process as the host of the API: its only replica, without a queue. */
export const inProcess = ({ model, runtime, responses, vars }: InProcess): Host => ({
  vars: { ...vars, MODEL_ID: model },
  replica: () => ({
    fetch: (url, init) =>
      inEnvelope(async () => {
        const rt = await runtime();
        return tellRoom(rt, await dispatch(rt, new Request(url, init)));
      }),
  }),
  session: responses && ((name) => responses.session(name)),
  secret: async () => responses?.secret ?? '',
  clock: CLOCK,
});
