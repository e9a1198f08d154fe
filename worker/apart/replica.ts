/** Replicas: a model's weights and pages fill an isolate, so they are a script of their own (replica.toml). Nothing but bindings reaches it. */
export { Replica } from '../../durable-objects/replica/index.ts';

export default { fetch: () => new Response('Not found', { status: 404 }) } satisfies ExportedHandler;
