/** A service beside the server that starts when it is first asked. What it is made of is built before that, so that who asks first does not wait for it. */
import { build } from '../build.ts';
import { type Once, once } from './once.ts';

export interface OnDemand<T> extends Once<T> {
  /** It is not begun any more; resolves when nothing of it is under way. */
  stop(): Promise<void>;
}

/** The build begins when `after` has resolved; what fails in it is told to who asks. `begin` starts the service, once it is built. */
export function onDemand<T>(
  folder: 'accelerator' | 'embedder',
  after: Promise<unknown>,
  say: (line: string) => void,
  begin: () => Promise<T>,
): OnDemand<T> {
  let stopped = false;
  const built = after.then(async () => {
    if (!stopped) await build(say, [folder]);
  });
  built.catch(() => {}); // told by who asks
  const start = once(async () => {
    await built;
    if (stopped) throw new Error('the server is stopping');
    return begin();
  });
  const stop = async () => {
    stopped = true;
    await start.settled();
  };
  return Object.assign(start, { stop });
}
