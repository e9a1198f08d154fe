/** ONNX Runtime on one thread. */
import * as ort from 'onnxruntime-web/wasm';
import { instantiating } from './instantiate.ts';

/** How a model is fed, from its graph. */
export interface SessionShape {
  inputs: readonly string[];
  idType: 'int64' | 'int32';
  output: string;
}

export interface Session {
  /** ids, mask and types of segments [B, T], the latter of 0 and 1 -> the output's numbers and shape. */
  run(
    input: { ids: Int32Array; mask: Int32Array; types: Int32Array },
    batch: number,
    tokens: number,
  ): Promise<{ data: Float32Array; dims: readonly number[] }>;
  close(): Promise<void>;
}

export interface Runtime {
  /** Size of the runtime's memory, which grows and never shrinks. */
  memoryBytes(): number;
  /** Rejects with ONNX Runtime's own words. */
  open(model: Uint8Array, shape: SessionShape): Promise<Session>;
}

/** ONNX Runtime from its compiled module, `ort-wasm-simd-threaded.wasm` of the npm package. Once an isolate or process. */
export function createRuntime(module: WebAssembly.Module): Runtime {
  const { env } = ort;
  env.wasm.numThreads = 1; // Workers have no threads
  env.logLevel = 'error';
  let memory: WebAssembly.Memory | undefined;
  const create = (model: Uint8Array) =>
    ort.InferenceSession.create(model, {
      executionProviders: ['wasm'],
      enableCpuMemArena: false, // what one shape took is free for the next
      enableMemPattern: false,
      graphOptimizationLevel: 'all',
      logSeverityLevel: 4, // what is wrong comes as an exception
    });
  return {
    memoryBytes: () => memory?.buffer.byteLength ?? 0,
    async open(model, shape) {
      if (memory) return session(await create(model), shape);
      const first = (bytes: ArrayBuffer) => {
        env.wasm.wasmBinary = bytes;
        return create(model);
      };
      return session(
        await instantiating(module, first, (m) => {
          memory = m;
        }),
        shape,
      );
    },
  };
}

function session(s: ort.InferenceSession, { inputs, idType, output }: SessionShape): Session {
  const tensor = (values: Int32Array, dims: number[]) =>
    idType === 'int32' ? new ort.Tensor('int32', values, dims) : new ort.Tensor('int64', BigInt64Array.from(values, BigInt), dims);
  return {
    async run({ ids, mask, types }, batch, tokens) {
      const dims = [batch, tokens];
      const feeds: Record<string, ort.Tensor> = { input_ids: tensor(ids, dims) };
      if (inputs.includes('attention_mask')) feeds.attention_mask = tensor(mask, dims);
      if (inputs.includes('token_type_ids')) feeds.token_type_ids = tensor(types, dims);
      const result = (await s.run(feeds, [output]))[output];
      if (!(result.data instanceof Float32Array)) throw new Error(`output "${output}" is ${result.type}, not float32`);
      return { data: result.data, dims: result.dims };
    },
    close: () => s.release(),
  };
}
