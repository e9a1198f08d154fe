/** `REQUIRE_GPU=1` turns every skip of these tests into a failure. */
import { noChromium } from './chromium.ts';

export const required = process.env.REQUIRE_GPU === '1';
/** Minutes on a software adapter: run where a GPU is required, or with `WEBGPU_FULL=1`. */
export const full = required || process.env.WEBGPU_FULL === '1';

/** A reason to skip, said aloud, or undefined; where a GPU is required there is none, and the test fails by itself. */
export function reason(why: string | undefined): string | undefined {
  if (!why) return undefined;
  console.warn(`webgpu tests ${required ? 'will fail' : 'skipped'}: ${why}`);
  return required ? undefined : why;
}

/** ms; on a software adapter 2 to 24 s each were seen, so that what takes longer hangs. */
export const SLOW = full ? 900_000 : 180_000;

export const skipWithoutChromium = reason(noChromium);
