import type { Family } from './family.ts';
import { llama } from './llama.ts';
import { qwen2, qwen3 } from './qwen.ts';

/** Every family that runs. */
export const FAMILIES: readonly Family[] = [llama, qwen2, qwen3];

/** The family of a file, undefined for one that does not run. */
export const familyNamed = (name: string): Family | undefined => FAMILIES.find((f) => f.name === name);

/** For errors: which families run. */
export const familyNames = (): string => FAMILIES.map((f) => f.name).join(', ');
