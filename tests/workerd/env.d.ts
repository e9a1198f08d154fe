declare namespace Cloudflare {
  interface Env {
    SCHEDULER: DurableObjectNamespace<import('../../durable-objects/scheduler/index.ts').Scheduler>;
    SESSION: DurableObjectNamespace<import('../../durable-objects/session/index.ts').Session>;
    TENANT: DurableObjectNamespace<import('../../durable-objects/tenant/index.ts').Tenant>;
    REPLICA: DurableObjectNamespace<import('./test-replica.ts').TestReplica>;
  }
}
