/** The Worker's entry: the app, and the classes of its Durable Objects. */

import { createApp } from './app.ts';

const app = createApp();

export default { fetch: app.fetch } satisfies ExportedHandler<import('./env.ts').Env>;
