import { build } from '../cli/build.ts';

/** Vitest's global setup: builds what is stale once, before tests start servers. */
export default async function setup(): Promise<void> {
  await build((line) => console.log(line));
}
