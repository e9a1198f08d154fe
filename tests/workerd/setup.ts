/**
 * What an object logs, vitest's console sends to the runner by a call out of that object, and the run waits for all of these to come back:
 * that of an object which is aborted meanwhile never does, and the run never ends (github.com/cloudflare/workers-sdk/issues/14180; mended in
 * a later version). Here objects are aborted right after they have said what is wrong. So that console is not put in
 * (vitest.workerd.config.ts), and what is said is said to nobody: from before the first import to after the last test.
 */
Object.assign(globalThis, { console: new Proxy(console, { get: () => () => {} }) });
