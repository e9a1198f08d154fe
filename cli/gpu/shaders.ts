import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../build.ts';

const FOLDER = join(ROOT, 'kernels/webgpu/shaders');

/** Texts of the WebGPU kernels by name, from the file system (Node and Deno). */
export const readShaders = (): Record<string, string> =>
  Object.fromEntries(readdirSync(FOLDER).map((file) => [file.replace(/\.wgsl$/, ''), readFileSync(join(FOLDER, file), 'utf8')]));
