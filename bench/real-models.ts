/** Real public models, which the project does not contain: files that a machine has, and why one is missing. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { ROOT } from '../cli/build.ts';

export interface RealModel {
  name: string;
  /** As hubs name it. */
  file: string;
  sha256: string;
}

export const REAL_MODELS = {
  smollm2: {
    name: 'SmolLM2-135M-Instruct Q4_1',
    file: 'SmolLM2-135M-Instruct.Q4_1.gguf',
    sha256: 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53',
  },
  gemma3: {
    name: 'Gemma 3 270M Q4_K_M',
    file: 'gemma-3-270m-q4_k_m.gguf',
    sha256: 'a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818',
  },
  'qwen-coder': {
    name: 'Qwen2.5-Coder-0.5B-Instruct Q4_K_M',
    file: 'Qwen2.5-Coder-0.5B-Instruct.Q4_K_M.gguf',
    sha256: '1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32',
  },
} as const satisfies Record<string, RealModel>;

export type RealName = keyof typeof REAL_MODELS;

/** The folder they are kept in. */
export const realFolder = (): string => process.env.TURNSTONE_MODELS || join(homedir(), '.cache/turnstone-models');

/** Path of a model's file, or why it cannot be had. `../shared/models/get`, where there is one beside the checkout, brings it. */
export function realModel(name: RealName): { path: string; missing?: string } {
  const { file } = REAL_MODELS[name];
  const path = join(realFolder(), file);
  if (existsSync(path)) return { path };
  const get = join(ROOT, '../shared/models/get');
  if (existsSync(get)) {
    try {
      return { path: execFileSync(get, [name], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] }).trim() };
    } catch {
      // said below
    }
  }
  return { path, missing: `${file} is not in ${realFolder()} (TURNSTONE_MODELS names another folder)` };
}

/** SHA-256 of a file, hex. */
export async function fileDigest(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}
