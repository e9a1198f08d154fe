/** The Worker's entry: the app on its bindings, and the classes of its Durable Objects. */

import { createApp } from '../serving/app.ts';
import type { Env } from './env.ts';
import { hostOf } from './host.ts';

export { Replica } from '../durable-objects/replica/index.ts';
export { Scheduler } from '../durable-objects/scheduler/index.ts';
export { Session } from '../durable-objects/session/index.ts';
export { Tenant } from '../durable-objects/tenant/index.ts';

export { Batches } from './batches.ts';
export { Socket } from './socket.ts';

export default { fetch: (request, env, context) => createApp(hostOf(env)).fetch(request, context) } satisfies ExportedHandler<Env>;
