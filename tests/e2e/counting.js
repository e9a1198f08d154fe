/**
 * The Worker's entry for tests: every call of an object is counted and timed, by its class and method, and GET /__calls tells of it, begun
 * anew with `?reset`. All objects are in this one isolate, so that a module's variable sees them all.
 */
import app, * as all from './index.js';

const calls = new Map();

function counted(name, method, work) {
  const entry = calls.get(`${name}.${method}`) ?? { calls: 0, ms: 0, now: 0 };
  calls.set(`${name}.${method}`, entry);
  entry.calls++;
  entry.now++;
  const from = Date.now();
  const ends = () => {
    entry.ms += Date.now() - from;
    entry.now--;
  };
  const result = work();
  if (typeof result?.then !== 'function') {
    ends();
    return result;
  }
  return result.finally(ends);
}

function counting(name, Class) {
  const Counted = class extends Class {};
  for (const method of Object.getOwnPropertyNames(Class.prototype)) {
    if (method === 'constructor' || typeof Object.getOwnPropertyDescriptor(Class.prototype, method).value !== 'function') continue;
    Counted.prototype[method] = function (...given) {
      return counted(name, method, () => Class.prototype[method].apply(this, given));
    };
  }
  return Counted;
}

export const Replica = counting('Replica', all.Replica);
export const Session = counting('Session', all.Session);
export const Scheduler = counting('Scheduler', all.Scheduler);
export const Tenant = counting('Tenant', all.Tenant);

export default {
  fetch(request, env, context) {
    const url = new URL(request.url);
    if (url.pathname !== '/__calls') return app.fetch(request, env, context);
    if (url.search === '?reset') calls.clear();
    return Response.json(Object.fromEntries(calls));
  },
};
