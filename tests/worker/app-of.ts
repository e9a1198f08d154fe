import { createApp } from '../../serving/app.ts';
import type { Host } from '../../serving/host.ts';
import type { Env } from '../../worker/env.ts';
import { hostOf } from '../../worker/host.ts';

/** The Worker's app on stand-ins for its bindings. */
export const app = {
  request: (path: string, init: RequestInit = {}, env: Env, context?: ExecutionContext, more: Partial<Host> = {}): Promise<Response> =>
    createApp({ ...hostOf(env), ...more }).fetch(new Request(new URL(path, 'http://localhost'), init), context),
};
