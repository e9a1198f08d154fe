import type { Family, GgufSide } from './family.ts';
import { gemma3 } from './gemma3.ts';
import { granite, graniteHybrid } from './granite.ts';
import { lfm2 } from './lfm2.ts';
import { llama } from './llama.ts';
import { qwen2, qwen3 } from './qwen.ts';
import { smollm3 } from './smollm3.ts';

/** Every family that runs. */
export const FAMILIES: readonly Family[] = [llama, qwen2, qwen3, gemma3, granite, graniteHybrid, smollm3, lfm2];

/** The families of GGUF files. */
const GGUF = FAMILIES.flatMap(({ name, gguf }) => (gguf ? [{ name, gguf }] : []));

/** The family of a GGUF file by its architecture, undefined for one that does not run. */
export const familyNamed = (name: string): { name: string; gguf: GgufSide } | undefined => GGUF.find((f) => f.name === name);

/** The family of a Hugging Face folder by its model type. */
export const familyOfType = (modelType: string): Family | undefined => FAMILIES.find((f) => (f.modelType ?? f.name) === modelType);

/** For errors: which families run. */
export const familyNames = (): string => GGUF.map((f) => f.name).join(', ');
