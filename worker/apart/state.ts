/** Sessions, queue and lists of sessions: what has storage and computes little, in a script of its own (state.toml). Nothing but bindings reaches it. */
export { Scheduler } from '../../durable-objects/scheduler/index.ts';
export { Session } from '../../durable-objects/session/index.ts';
export { Tenant } from '../../durable-objects/tenant/index.ts';

export default { fetch: () => new Response('Not found', { status: 404 }) } satisfies ExportedHandler;
