import type { Features } from './programs.ts';

/** An adapter's name and a device with what it can give. */
export interface Adapter {
  device: GPUDevice;
  name: string;
  features: Features;
}

/** How adapters are asked for: `navigator.gpu`, or Dawn's. */
export type GpuLike = Pick<GPU, 'requestAdapter'> & { wgslLanguageFeatures?: ReadonlySet<string> | WGSLLanguageFeatures };

/**
 * A device with the adapter's own limits and what the kernels can use of its features. Null when there is no adapter.
 * `without` leaves features out.
 */
export async function openDevice(gpu: GpuLike | undefined, without: readonly (keyof Features)[] = []): Promise<Adapter | null> {
  const adapter = (await gpu?.requestAdapter({ powerPreference: 'high-performance' })) ?? null;
  if (!gpu || !adapter) return null;
  const has = (key: keyof Features, there: boolean) => there && !without.includes(key);
  const features: Features = {
    packed: has('packed', gpu.wgslLanguageFeatures?.has('packed_4x8_integer_dot_product') ?? false),
    f16: has('f16', adapter.features.has('shader-f16')),
    subgroups: has('subgroups', adapter.features.has('subgroups')),
  };
  const requiredFeatures: GPUFeatureName[] = [];
  if (features.f16) requiredFeatures.push('shader-f16');
  if (features.subgroups) requiredFeatures.push('subgroups');
  const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
  const device = await adapter.requestDevice({ requiredFeatures, requiredLimits: { maxBufferSize, maxStorageBufferBindingSize } });
  features.f16 &&= await compiles(device, F16_PROBE);
  const { vendor, architecture, description } = adapter.info ?? {};
  return { device, name: [vendor, architecture, description].filter(Boolean).join(' ') || 'unnamed adapter', features };
}

/** Some compilers know the feature and not all of its functions. */
const F16_PROBE = `enable f16;
@group(0) @binding(0) var<storage, read_write> out: array<f32>;
@compute @workgroup_size(1) fn main() { out[0] = f32(bitcast<vec2<f16>>(15360u).x); }`;

async function compiles(device: GPUDevice, code: string): Promise<boolean> {
  device.pushErrorScope('validation');
  device.createShaderModule({ code });
  return (await device.popErrorScope()) === null;
}
