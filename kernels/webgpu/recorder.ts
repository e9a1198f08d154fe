import type { GpuBuf, View } from './buffers.ts';
import { type Faults, ShaderError } from './faults.ts';
import { nameOf, type Program, sourceOf } from './programs.ts';

/** What was done since the start, to be held against the least possible. */
export interface Counts {
  dispatches: number;
  submits: number;
  written: number; // bytes, host to device
  writes: number;
  read: number; // bytes, device to host
  weights: number; // bytes of weight matrices that kernels read; a decode step must read each once
}

interface Kernel {
  id: number;
  pipeline: GPUComputePipeline;
  layout: GPUBindGroupLayout;
  bindings: number[]; // numbers of the buffers, in the order they are given in
}

const SLOTS = 1024; // dispatches between two submits
const PARAM_BYTES = 64;
const MAX_GRID = 65_535; // workgroups a dimension, WebGPU's default limit

const scratch = new Float32Array(1);
const scratchBits = new Uint32Array(scratch.buffer);
/** A float as a word of parameters. */
export function bits(x: number): number {
  scratch[0] = x;
  return scratchBits[0];
}

/**
 * Fills one command encoder a step: pipelines are made once, bind groups kept, and the parameters of all dispatches go
 * over in one write just before the submit, or not at all when the last step had the same ones, as in decoding.
 */
export class Recorder {
  readonly counts: Counts = { dispatches: 0, submits: 0, written: 0, writes: 0, read: 0, weights: 0 };
  readonly #device: GPUDevice;
  readonly #shaders: Readonly<Record<string, string>>;
  readonly #faults: Faults;
  readonly #kernels = new Map<string, Kernel>();
  readonly #groups = new Map<string, GPUBindGroup>();
  readonly #stride: number; // bytes of a slot
  readonly #params: GPUBuffer;
  readonly #staged: Uint32Array<ArrayBuffer>;
  readonly #sent: Uint32Array<ArrayBuffer>; // what #params holds
  #slot = 0;
  #encoder?: GPUCommandEncoder;
  #pass?: GPUComputePassEncoder;
  /** Buffers that recorded work reads or writes. */
  readonly #touched = new Set<GpuBuf>();

  constructor(device: GPUDevice, shaders: Readonly<Record<string, string>>, faults: Faults) {
    this.#device = device;
    this.#shaders = shaders;
    this.#faults = faults;
    this.#stride = Math.max(PARAM_BYTES, device.limits.minUniformBufferOffsetAlignment);
    this.#params = device.createBuffer({ label: 'params', size: SLOTS * this.#stride, usage: 0x40 | 0x8 }); // UNIFORM | COPY_DST
    this.#staged = new Uint32Array((SLOTS * this.#stride) / 4);
    this.#sent = new Uint32Array(this.#staged.length);
  }

  /** Compiles a program when it is first used. A refusal of the compiler is a fault at the next wait. */
  kernel(program: Program): Kernel {
    const name = nameOf(program);
    let kernel = this.#kernels.get(name);
    if (!kernel) {
      kernel = this.#compile(name, program);
      this.#kernels.set(name, kernel);
    }
    return kernel;
  }

  #compile(name: string, program: Program): Kernel {
    const device = this.#device;
    const explain = async (error: GPUError, module?: GPUShaderModule) => {
      const messages = (await module?.getCompilationInfo())?.messages ?? [];
      const lines = messages.filter((m) => m.type === 'error').map((m) => `line ${m.lineNum}: ${m.message}`);
      return new ShaderError(`The GPU's compiler refuses the kernel "${name}": ${lines.join('; ') || error.message}`);
    };
    const code = sourceOf(program, this.#shaders);
    const module = this.#faults.watch('validation', () => device.createShaderModule({ label: name, code }), explain);
    const COMPUTE = 4;
    const bindings = program.bindings.flatMap((kind, i) => (kind ? [i + 1] : []));
    const entries: GPUBindGroupLayoutEntry[] = [
      { binding: 0, visibility: COMPUTE, buffer: { type: 'uniform', hasDynamicOffset: true, minBindingSize: PARAM_BYTES } },
      ...bindings.map((binding): GPUBindGroupLayoutEntry => {
        const type = program.bindings[binding - 1] === 'write' ? 'storage' : 'read-only-storage';
        return { binding, visibility: COMPUTE, buffer: { type } };
      }),
    ];
    const layout = device.createBindGroupLayout({ label: name, entries });
    const pipeline = this.#faults.watch(
      'validation',
      () =>
        device.createComputePipeline({
          label: name,
          layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
          compute: { module, entryPoint: 'main' },
        }),
      (error) => explain(error, module),
    );
    return { id: this.#kernels.size, pipeline, layout, bindings };
  }

  /** Records a kernel over `grid` workgroups. `params` are words; make floats with `bits`. */
  dispatch(program: Program, buffers: readonly (GpuBuf | View)[], params: readonly number[], grid: readonly [number, number?]): void {
    const [x, y = 1] = grid;
    if (x > MAX_GRID || y > MAX_GRID)
      throw new Error(`webgpu: ${nameOf(program)} needs ${x} × ${y} workgroups, at most ${MAX_GRID} each way`);
    if (x === 0 || y === 0) return;
    if (this.#slot === SLOTS) this.flush();
    const kernel = this.kernel(program);
    const group = this.#group(kernel, buffers);
    this.#staged.set(params, (this.#slot * this.#stride) / 4);
    this.#encoder ??= this.#device.createCommandEncoder();
    this.#pass ??= this.#encoder.beginComputePass();
    this.#pass.setPipeline(kernel.pipeline);
    this.#pass.setBindGroup(0, group, [this.#slot * this.#stride]);
    this.#pass.dispatchWorkgroups(x, y);
    this.#slot++;
    this.counts.dispatches++;
  }

  #group(kernel: Kernel, buffers: readonly (GpuBuf | View)[]): GPUBindGroup {
    let key = `${kernel.id}`;
    for (const b of buffers) {
      this.#touched.add('buf' in b ? b.buf : b);
      key += 'buf' in b ? ` ${b.buf.id}+${b.offset}` : ` ${b.id}`;
    }
    let group = this.#groups.get(key);
    if (!group) {
      const entries: GPUBindGroupEntry[] = [{ binding: 0, resource: { buffer: this.#params, size: PARAM_BYTES } }];
      buffers.forEach((b, i) => {
        const resource = 'buf' in b ? { buffer: b.buf.gpu, offset: b.offset, size: b.size } : { buffer: b.gpu };
        entries.push({ binding: kernel.bindings[i], resource });
      });
      group = this.#device.createBindGroup({ layout: kernel.layout, entries });
      this.#groups.set(key, group);
    }
    return group;
  }

  /** Writes now; what was recorded before and touches the buffer is submitted first, so that order is kept. */
  write(buf: GpuBuf, bytes: Uint8Array<ArrayBuffer>, offset: number): void {
    if (this.#touched.has(buf)) this.flush();
    this.#device.queue.writeBuffer(buf.gpu, offset, bytes);
    this.counts.written += bytes.length;
    this.counts.writes++;
  }

  /** Submits what was recorded, and behind it a copy when one is asked for. */
  flush(copy?: { src: GPUBuffer; offset: number; dst: GPUBuffer; bytes: number }): void {
    this.#pass?.end();
    this.#pass = undefined;
    if (copy) {
      this.#encoder ??= this.#device.createCommandEncoder();
      this.#encoder.copyBufferToBuffer(copy.src, copy.offset, copy.dst, 0, copy.bytes);
    }
    if (!this.#encoder) return;
    if (this.#slot > 0) {
      const words = (this.#slot * this.#stride) / 4;
      if (!this.#same(words)) {
        this.#device.queue.writeBuffer(this.#params, 0, this.#staged, 0, words);
        this.#sent.set(this.#staged.subarray(0, words));
        this.counts.written += words * 4;
        this.counts.writes++;
      }
    }
    this.#device.queue.submit([this.#encoder.finish()]);
    this.counts.submits++;
    this.#encoder = undefined;
    this.#slot = 0;
    this.#touched.clear();
  }

  #same(words: number): boolean {
    for (let i = 0; i < words; i++) if (this.#staged[i] !== this.#sent[i]) return false;
    return true;
  }

  dispose(): void {
    this.#params.destroy();
    this.#groups.clear();
    this.#kernels.clear();
  }
}
