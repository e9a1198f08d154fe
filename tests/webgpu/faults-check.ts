/** What goes wrong on a GPU, made to go wrong. */
import { type Adapter, createWebGpu } from '../../kernels/webgpu/index.ts';

export interface FaultReport {
  lost: string;
  afterLoss: string;
  tooLarge: string;
  refused: string;
  recovered: boolean;
}

const said = async (run: () => Promise<unknown> | unknown): Promise<string> => {
  try {
    await run();
    return 'nothing';
  } catch (error) {
    return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  }
};

/** Each fault's message; `open` gives a fresh device each time. */
export async function checkFaults(open: () => Promise<Adapter | null>, shaders: Record<string, string>): Promise<FaultReport> {
  const fresh = async () => {
    const adapter = await open();
    if (!adapter) throw new Error('no adapter');
    return adapter;
  };
  const first = await fresh();
  const be = createWebGpu(first.device, { shaders, features: first.features });
  const buf = be.alloc(64, 'a buffer');
  const waiting = said(async () => {
    first.device.destroy();
    return be.read(buf, 0, 64);
  });
  const lost = await waiting;
  const afterLoss = await said(() => be.submit());

  const second = await fresh();
  const other = createWebGpu(second.device, { shaders, features: second.features });
  const tooLarge = await said(() => other.alloc(second.device.limits.maxStorageBufferBindingSize + 16, 'a huge tensor'));
  const broken = createWebGpu(second.device, { shaders: { ...shaders, 'copy-page': 'fn main( {' }, features: second.features });
  const refused = await said(async () => {
    const kv = broken.kvPool({ format: 'i8', layers: 1, kvHeads: 1, headDim: 8 }, 2);
    broken.copyPages(kv, Uint32Array.of(0, 1));
    await broken.submit();
  });
  const echo = other.alloc(16, 'echo');
  other.write(echo, new Uint8Array(16).fill(7));
  const recovered = (await other.read(echo, 0, 16)).every((v) => v === 7);
  second.device.destroy();
  return { lost, afterLoss, tooLarge, refused, recovered };
}
