/** A GPU host computes a prompt's pages, wasm decodes on them: the adapter's own client, with all the time a software GPU needs. */
import { sha256 } from '@noble/hashes/sha2.js';
import { afterAll, describe, expect, it } from 'vitest';
import { npuPrefill } from '../../accelerator/client.ts';
import { hostGpu } from '../../cli/gpu/runtime.ts';
import { type GpuHost, startGpuHost } from '../../cli/gpu-host.ts';
import { localPack } from '../../cli/packs.ts';
import { PAGE_VERSION } from '../../engine/layout.ts';
import { openDevice } from '../../kernels/webgpu/index.ts';
import { folderPack } from '../../models/node/files.ts';
import { wasmMaker } from '../../serving/run/open.ts';
import { chatPrompt } from '../../serving/run/prompt.ts';
import { decodePages } from '../kernels/cases/kv.ts';
import { wasmModules } from '../kernels/modules.ts';
import { compareRuns, generate, open } from './engine-run.ts';
import { reason } from './require.ts';
import { GAP } from './tolerance.ts';

const found = hostGpu();
const adapter = 'gpu' in found ? await openDevice(found.gpu) : null;
const why = reason('why' in found ? found.why : adapter ? undefined : 'no adapter found');
adapter?.device.destroy();

const SLOW = 390_000; // ms
const SECRET = 'a secret of the test alone';
const SALT = JSON.stringify(['public', '']);
/** Of a page's values, relative to its largest: two steps of its 8 bits. */
const PAGE_TOLERANCE = 2 / 127;

describe.skipIf(why)('prefill on a GPU host, decode on wasm', () => {
  let host: GpuHost | undefined;
  afterAll(() => host?.stop());

  it('pages within their tolerance, the same tokens; an exact caller is refused', { timeout: SLOW }, async () => {
    host = await startGpuHost({ port: 0, secret: SECRET });
    console.log(`gpu-host on ${host.adapter}`);
    const { folder } = await localPack(undefined, () => {});
    const wasm = wasmMaker(wasmModules());
    /** As a Worker's replica with NPU_NUMERICS=webgpu-1: the bits of wasm, pages under the GPU's name. */
    const named = { ...wasm, create: (bytes: number) => ({ ...wasm.create(bytes), numerics: 'webgpu-1' }) };
    const [plain, aided] = await Promise.all([wasm, named].map((maker) => open(folderPack(folder), 'pebble', maker)));
    const text = Array.from({ length: 5 }, (_, i) => `Tom has ${i + 2} apples and Ann has ${i + 5} more.`).join(' ');
    const ids = chatPrompt(plain.served, { messages: [{ role: 'user', content: text }], tools: [] });
    const names = aided.engine.names.chain(ids, SALT);
    const { url } = host;
    const prefill = (numerics: string) =>
      npuPrefill({
        npu: { fetch: (to, init) => fetch(url + new URL(to).pathname, init) },
        ...{ secret: SECRET, names, hash: sha256, ids: ids.slice(0, names.length * 16) },
        head: { pack: aided.served.digest, kv: 'i8', numerics, salt: SALT, have: 0, deadlineMs: SLOW },
        page: { version: PAGE_VERSION, bytes: aided.engine.kv.pageBytes },
        pageOf: async () => undefined,
        onPage: (name, bytes) => void aided.engine.importPage(name, bytes),
      });
    await expect(prefill('exact-1')).rejects.toThrow(/another model or arithmetic: .* webgpu-1/);
    const { tokens } = await prefill('webgpu-1');
    expect(tokens).toBe(names.length * 16);

    const [want] = await generate(plain, [ids], 24, 'a');
    for (const [i, name] of plain.engine.names.chain(ids, SALT).entries()) {
      expect(names[i]).not.toBe(name);
      const [a, b] = await Promise.all([plain.engine.exportPage(name), aided.engine.exportPage(names[i])]);
      const [x, y] = [a, b].map((bytes) => decodePages(aided.engine.kv.shape, bytes as Uint8Array));
      const most = x.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
      expect(x.reduce((m, v, i) => Math.max(m, Math.abs(v - y[i])), 0) / most).toBeLessThan(PAGE_TOLERANCE);
    }
    const [got] = await generate(aided, [ids], 24, 'b');
    expect(got.cached).toBe(names.length * 16);
    const agreement = compareRuns([want], [got]);
    console.log(`prefill on the GPU, decode on wasm: ${JSON.stringify(agreement)}`);
    for (const { gap } of agreement.gaps) expect(gap).toBeLessThan(GAP);
  });
});
