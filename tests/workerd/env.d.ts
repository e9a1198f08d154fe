declare namespace Cloudflare {
  interface Env {
    SCHEDULER: DurableObjectNamespace<import('../../durable-objects/scheduler/index.ts').Scheduler>;
  }
}
