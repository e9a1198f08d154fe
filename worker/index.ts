/** The Worker's entry: the app, and the classes of its Durable Objects. */

import { createApp } from './app.ts';

const app = createApp();

export { Replica } from '../durable-objects/replica/index.ts';
export { Scheduler } from '../durable-objects/scheduler/index.ts';
export { Session } from '../durable-objects/session/index.ts';
export { Tenant } from '../durable-objects/tenant/index.ts';

export default { fetch: app.fetch } satisfies ExportedHandler<import('./env.ts').Env>;
