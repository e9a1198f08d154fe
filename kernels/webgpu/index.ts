/**
 * The contract on WebGPU: in a browser, in Deno, in Node with Dawn. A step is one command encoder; only `submit` and
 * `read` wait. Numerics id `webgpu-1`: the formulas of NUMERICS.md, but a driver may fuse a · b + c and sums over K are
 * split over threads, so it is held to the tolerances of tests/kernels/cases and its pages stay in their own session.
 */
import type { Act, Backend, Buf, KvPool } from '../../engine/backend.ts';
import { pageBytes } from '../../engine/layout.ts';
import { actBytes, GpuBuf, need } from './buffers.ts';
import { reserved } from './count.ts';
import { DeviceMemoryError, Faults } from './faults.ts';
import { createOps } from './ops.ts';
import { type Features, programs } from './programs.ts';
import { type Counts, Recorder } from './recorder.ts';

export { countWebGpu } from './count.ts';
export { type Adapter, openDevice } from './device.ts';
export { DeviceLostError, DeviceMemoryError, ShaderError } from './faults.ts';
export type { Features } from './programs.ts';
export type { Counts } from './recorder.ts';

export interface WebGpuOptions {
  /** Texts of the shaders folder by name without `.wgsl`: a bundler or a file system reads them. */
  shaders: Readonly<Record<string, string>>;
  /** Default: what the device was made with (device.ts). */
  features: Features;
  /** Refuses allocations beyond this sum. Default: what the device gives. */
  memoryBytes?: number;
}

export interface WebGpuBackend extends Backend {
  readonly features: Features;
  readonly device: GPUDevice;
  counts(): Counts;
  /** What has gone wrong for good; every wait rejects with it. */
  fault(): Error | undefined;
  memory(): { used: number; buffers: number };
}

const STORAGE = 0x80 | 0x4 | 0x8; // STORAGE | COPY_SRC | COPY_DST
const STAGING = 0x1 | 0x8; // MAP_READ | COPY_DST
const MAP_READ = 1;

/** A backend on a device. The device stays the caller's; `dispose` frees the buffers. */
export function createWebGpu(device: GPUDevice, opts: WebGpuOptions): WebGpuBackend {
  const faults = new Faults(device);
  const recorder = new Recorder(device, opts.shaders, faults);
  const limit = Math.min(device.limits.maxStorageBufferBindingSize, device.limits.maxBufferSize);
  const capacity = opts.memoryBytes ?? Infinity;
  const buffers: GPUBuffer[] = [];
  const idle: GPUBuffer[] = []; // for reading back
  let used = 0;

  function alloc(bytes: number, label: string): GpuBuf {
    if (!Number.isSafeInteger(bytes) || bytes < 0) throw new Error(`webgpu: ${label} asks for ${bytes} bytes`);
    const size = reserved(bytes);
    if (size > limit) {
      throw new DeviceMemoryError(
        `webgpu: ${label} needs ${size} bytes in one buffer, this device allows ${limit}; use a smaller model or format`,
      );
    }
    if (used + size > capacity) {
      throw new DeviceMemoryError(`webgpu: ${label} needs ${size} bytes, ${used} of ${capacity} are taken`);
    }
    faults.check();
    const gpu = faults.watch(
      'out-of-memory',
      () => device.createBuffer({ label, size, usage: STORAGE }),
      (error) => new DeviceMemoryError(`The GPU has no room for ${label} (${size} bytes, after ${used}): ${error.message}`),
    );
    used += size;
    buffers.push(gpu);
    return new GpuBuf(label, bytes, gpu, buffers.length);
  }

  function staging(bytes: number): GPUBuffer {
    const at = idle.findIndex((b) => b.size >= bytes);
    if (at >= 0) return idle.splice(at, 1)[0];
    return device.createBuffer({ label: 'read back', size: Math.max(4096, reserved(bytes)), usage: STAGING });
  }

  /** Runs what waits on the device; a failure is told as its first cause. */
  async function waiting<T>(run: () => Promise<T>): Promise<T> {
    try {
      await faults.settle();
      const result = await run();
      await faults.settle();
      return result;
    } catch (error) {
      throw await faults.because(error);
    }
  }

  const none = alloc(16, 'none');

  return {
    name: 'webgpu',
    numerics: 'webgpu-1',
    features: opts.features,
    device,
    counts: () => ({ ...recorder.counts }),
    fault: () => faults.known,
    memory: () => ({ used, buffers: buffers.length }),

    alloc,
    act: (format, rows, K, label): Act => ({ format, rows, K, data: alloc(actBytes(format, rows, K), label) }),
    kvPool(shape, pages): KvPool {
      if (shape.format === 'i8v4') throw new Error('webgpu has no pages with values of 4 bits (KV=i8v4): use i8 or f32');
      return { shape, pages, pageBytes: pageBytes(shape), data: alloc(pages * pageBytes(shape), 'kv pages') };
    },

    ...createOps(recorder, programs(opts.features), alloc, none),

    write(buf: Buf, bytes: Uint8Array, offset = 0) {
      if (offset < 0 || offset % 4 !== 0) throw new Error(`write: offset ${offset} into ${buf.label} is no multiple of 4`);
      const target = need('write', buf, offset + bytes.length);
      const whole = bytes.length & ~3;
      const from = bytes as Uint8Array<ArrayBuffer>;
      if (whole > 0) recorder.write(target, whole === bytes.length ? from : from.subarray(0, whole), offset);
      if (whole === bytes.length) return;
      if (offset + bytes.length !== buf.bytes) throw new Error(`write: ${bytes.length} bytes into ${buf.label} are no multiple of 4`);
      const rest = new Uint8Array(4);
      rest.set(bytes.subarray(whole));
      recorder.write(target, rest, offset + whole);
    },

    submit: () =>
      waiting(async () => {
        recorder.flush();
        await device.queue.onSubmittedWorkDone();
      }),

    read: (buf, offset, bytes) =>
      waiting(async () => {
        if (offset < 0) throw new Error(`read: offset ${offset}`);
        const src = need('read', buf, offset + bytes).gpu;
        const first = offset & ~3;
        const size = Math.ceil((offset + bytes - first) / 4) * 4;
        const dst = staging(size);
        recorder.flush({ src, offset: first, dst, bytes: size });
        await dst.mapAsync(MAP_READ, 0, size);
        const copy = new Uint8Array(dst.getMappedRange(0, size)).slice(offset - first, offset - first + bytes);
        dst.unmap();
        idle.push(dst);
        recorder.counts.read += size;
        return copy;
      }),

    dispose() {
      for (const b of [...buffers, ...idle]) b.destroy();
      buffers.length = idle.length = 0;
      recorder.dispose();
      faults.dispose();
    },
  };
}
