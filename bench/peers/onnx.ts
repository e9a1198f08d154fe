/** ONNX Runtime Web's 4-bit matrix product (com.microsoft MatMulNBits), one thread, in headless Chromium. */
import { concat } from '../../engine/bytes.ts';
import { PeerPage } from './browser.ts';

interface Session {
  run(feeds: object): Promise<unknown>;
  release(): Promise<void>;
}
interface Ort {
  env: { wasm: { numThreads: number; wasmPaths: string } };
  Tensor: new (type: string, data: Float32Array, dims: number[]) => unknown;
  InferenceSession: { create(model: Uint8Array, o: object): Promise<Session> };
}
/** The page's global object, where it keeps the library and the model between calls. */
interface Held {
  ort: Ort;
  session?: Session;
}

/** 0: f32 arithmetic; 4: int8 activations, the fastest there is. */
export type Accuracy = 0 | 4;

export interface OnnxShape {
  N: number;
  K: number;
  T: number;
}

export class OnnxPeer {
  readonly host: PeerPage;
  private readonly models: Uint8Array[];

  private constructor(host: PeerPage, models: Uint8Array[]) {
    this.host = host;
    this.models = models;
  }

  static async open(): Promise<OnnxPeer> {
    const models: Uint8Array[] = [];
    const host = await PeerPage.open(models);
    await host.page.evaluate(async () => {
      const base = '/node_modules/onnxruntime-web/dist/';
      const ort = (await import(`${base}ort.wasm.min.mjs`)) as Ort;
      ort.env.wasm.numThreads = 1;
      ort.env.wasm.wasmPaths = base;
      (globalThis as unknown as Held).ort = ort;
    });
    return new OnnxPeer(host, models);
  }

  /** Loads a one-node model; `time` then runs it. */
  async prepare(shape: OnnxShape, accuracy: Accuracy): Promise<void> {
    this.models[0] = matMulNBits(shape, accuracy);
    await this.host.page.evaluate(async () => {
      const held = globalThis as unknown as Held;
      await held.session?.release();
      const bytes = new Uint8Array(await (await fetch('/file/0')).arrayBuffer());
      held.session = await held.ort.InferenceSession.create(bytes, {
        executionProviders: ['wasm'],
        graphOptimizationLevel: 'all',
      });
    });
  }

  /** ms of one product, the mean of `iterations`. */
  async time({ K, T }: OnnxShape, iterations: number): Promise<number> {
    const run = (n: number) =>
      this.host.page.evaluate(
        async ({ K, T, n }) => {
          const { ort, session } = globalThis as unknown as Held;
          if (!session) throw new Error('prepare a model first');
          const A = new ort.Tensor(
            'float32',
            Float32Array.from({ length: T * K }, (_, i) => Math.sin(i)),
            [T, K],
          );
          for (let i = 0; i < n; i++) await session.run({ A });
        },
        { K, T, n },
      );
    await run(1);
    return (await this.host.time(() => run(iterations))) / iterations;
  }

  close = (): Promise<void> => this.host.close();
}

/** An ONNX file: Y[T, N] = A[T, K] · dequantize(B)ᵀ, blocks of 32 with an f32 scale, zero point 8. Protobuf by hand (onnx.proto). */
function matMulNBits({ N, K, T }: OnnxShape, accuracy: Accuracy): Uint8Array {
  const blocks = K / 32;
  const B = new Uint8Array(N * blocks * 16);
  let x = 12345;
  for (let i = 0; i < B.length; i++) {
    x = (Math.imul(x, 1103515245) + 12345) >>> 0;
    B[i] = x >>> 16;
  }
  const scales = new Uint8Array(Float32Array.from({ length: N * blocks }, (_, i) => 0.01 + (i % 7) / 1000).buffer);
  const attribute = (name: string, value: number) => message(5, text(1, name), integer(3, value), integer(20, 2));
  const tensor = (name: string, type: number, dims: number[], data: Uint8Array) =>
    message(5, ...dims.map((d) => integer(1, d)), integer(2, type), text(8, name), bytes(9, data));
  const value = (field: number, name: string, dims: number[]) =>
    message(field, text(1, name), message(2, message(1, integer(1, 1), message(2, ...dims.map((d) => message(1, integer(1, d)))))));
  const node = message(
    1,
    ...['A', 'B', 'scales'].map((n) => text(1, n)),
    text(2, 'Y'),
    text(3, 'product'),
    text(4, 'MatMulNBits'),
    attribute('K', K),
    attribute('N', N),
    attribute('bits', 4),
    attribute('block_size', 32),
    attribute('accuracy_level', accuracy),
    text(7, 'com.microsoft'),
  );
  const graph = message(
    7,
    node,
    text(2, 'graph'),
    tensor('B', 2, [N, blocks, 16], B),
    tensor('scales', 1, [N * blocks], scales),
    value(11, 'A', [T, K]),
    value(12, 'Y', [T, N]),
  );
  const opset = (domain: string, version: number) => message(8, text(1, domain), integer(2, version));
  return concat([integer(1, 9), graph, opset('', 17), opset('com.microsoft', 1)]);
}

const varint = (n: number): Uint8Array => {
  const out: number[] = [];
  for (; n > 127; n = Math.floor(n / 128)) out.push((n & 127) | 128);
  return Uint8Array.from([...out, n]);
};
const integer = (field: number, value: number) => concat([varint(field * 8), varint(value)]);
const bytes = (field: number, data: Uint8Array) => concat([varint(field * 8 + 2), varint(data.length), data]);
const text = (field: number, value: string) => bytes(field, new TextEncoder().encode(value));
const message = (field: number, ...parts: Uint8Array[]) => bytes(field, concat(parts));
