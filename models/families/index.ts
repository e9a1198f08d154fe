import type { Family } from './family.ts';
import { gemma3 } from './gemma3.ts';
import { llama } from './llama.ts';
import { qwen2, qwen3 } from './qwen.ts';

/** Every family that runs. */
export const FAMILIES: readonly Family[] = [llama, qwen2, qwen3, gemma3];

/** The family of a file, undefined for one that does not run. */
export const familyNamed = (name: string): Family | undefined => FAMILIES.find((f) => f.name === name);

/** The family of a Hugging Face folder. */
export const familyOfType = (modelType: string): Family | undefined => FAMILIES.find((f) => (f.modelType ?? f.name) === modelType);

/** For errors: which families run. */
export const familyNames = (): string => FAMILIES.map((f) => f.name).join(', ');
