/** The Worker under test: the Durable Objects, and nothing in front of them. */
export { Scheduler } from '../../durable-objects/scheduler/index.ts';

export default { fetch: () => new Response('turnstone tests') };
