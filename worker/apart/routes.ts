/** The routes, and what runs requests through them, alone: on Cloudflare the other objects are scripts of their own, and so isolates of their own (routes.toml). */
import { createApp } from '../../serving/app.ts';
import type { Env } from '../env.ts';
import { hostOf } from '../host.ts';

export { Batches } from '../batches.ts';
export { Socket } from '../socket.ts';

export default { fetch: (request, env, context) => createApp(hostOf(env)).fetch(request, context) } satisfies ExportedHandler<Env>;
