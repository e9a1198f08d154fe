import { readdirSync, readFileSync } from 'node:fs';

const folder = new URL('../../kernels/webgpu/shaders/', import.meta.url);

/** Texts of the WebGPU kernels by name, from the file system (Node and Deno). */
export const readShaders = (): Record<string, string> =>
  Object.fromEntries(readdirSync(folder).map((file) => [file.replace(/\.wgsl$/, ''), readFileSync(new URL(file, folder), 'utf8')]));
