/** The Worker under test: the Durable Objects, and nothing in front of them. */
export { Scheduler } from '../../durable-objects/scheduler/index.ts';
export { Session } from '../../durable-objects/session/index.ts';
export { Tenant } from '../../durable-objects/tenant/index.ts';
export { TestReplica } from './test-replica.ts';

export default { fetch: () => new Response('turnstone tests') };
