/** The routes alone: on Cloudflare the objects are scripts of their own, and so isolates of their own (routes.toml). */
import { createApp } from '../app.ts';
import type { Env } from '../env.ts';

const app = createApp();

export default { fetch: app.fetch } satisfies ExportedHandler<Env>;
