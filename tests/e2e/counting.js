/**
 * The Worker's entry for tests: every call of an object is counted and timed, by its class and method, and GET /__calls tells of it, begun
 * anew with `?reset`. All objects are in this one isolate, so that a module's variable sees them all. GET /__reset?of=&name= resets an
 * object as new code does: with the platform's words, and whatever it was doing.
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
  const fetch = Counted.prototype.fetch;
  Counted.prototype.fetch = function (request) {
    if (new URL(request.url).pathname === '/__reset') this.ctx.abort('Durable Object reset because its code was updated.');
    return fetch.call(this, request);
  };
  return Counted;
}

export const Replica = counting('Replica', all.Replica);
export const Session = counting('Session', all.Session);
export const Scheduler = counting('Scheduler', all.Scheduler);
export const Tenant = counting('Tenant', all.Tenant);

const reset = (namespace, name) =>
  namespace
    .get(namespace.idFromName(name))
    .fetch('https://object/__reset')
    .then(
      () => new Response('it was not reset', { status: 500 }),
      (error) => new Response(String(error)),
    );

export default {
  fetch(request, env, context) {
    const url = new URL(request.url);
    if (url.pathname === '/__reset') return reset(env[url.searchParams.get('of')], url.searchParams.get('name'));
    if (url.pathname !== '/__calls') return app.fetch(request, env, context);
    if (url.search === '?reset') calls.clear();
    return Response.json(Object.fromEntries(calls));
  },
};
