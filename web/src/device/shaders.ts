/** Texts of the WebGPU kernels, put into the bundle by Vite. */
const files = import.meta.glob('../../../kernels/webgpu/shaders/*.wgsl', { query: '?raw', import: 'default', eager: true });

export const shaders: Record<string, string> = Object.fromEntries(
  Object.entries(files).map(([path, text]) => [path.slice(path.lastIndexOf('/') + 1, -'.wgsl'.length), text]),
);
