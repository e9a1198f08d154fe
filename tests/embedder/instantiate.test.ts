import { describe, expect, it } from 'vitest';
import { instantiating } from '../../embedder/runtime/instantiate.ts';

/** A module that exports a memory of one page. */
const withMemory = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0, 5, 3, 1, 0, 1, 7, 7, 1, 3, 109, 101, 109, 2, 0]);
const empty = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]);

describe('the patch to WebAssembly.instantiate', () => {
  it('answers for its own buffer with the given module, and gives its memory', async () => {
    const module = new WebAssembly.Module(withMemory);
    let memory: WebAssembly.Memory | undefined;
    const found = (m: WebAssembly.Memory) => {
      memory = m;
    };
    const got = await instantiating(
      module,
      async (bytes) => [await WebAssembly.instantiate(bytes), await WebAssembly.instantiate(new Uint8Array(bytes))],
      found,
    );
    expect(got[0].module).toBe(module);
    expect(got[1].module).toBe(module); // ONNX Runtime wraps the buffer
    expect(memory?.buffer.byteLength).toBe(65_536);
  });

  it('hands everything else to the platform, whoever asks, and is gone afterwards', async () => {
    const platform = WebAssembly.instantiate;
    const module = new WebAssembly.Module(withMemory);
    let others: Promise<unknown[]> | undefined;
    await instantiating(
      module,
      async () => {
        expect(WebAssembly.instantiate).not.toBe(platform);
        // somebody else's bytes, somebody else's module, somebody else's mistake
        others = Promise.all([
          WebAssembly.instantiate(empty),
          WebAssembly.instantiate(new WebAssembly.Module(empty)),
          WebAssembly.instantiate(new Uint8Array([1, 2, 3])).catch((e: Error) => e),
        ]);
        await others;
      },
      () => {},
    );
    const [a, b, c] = (await others) as [WebAssembly.WebAssemblyInstantiatedSource, WebAssembly.Instance, Error];
    expect(a.module).not.toBe(module);
    expect(a.instance.exports).toEqual({});
    expect(b).toBeInstanceOf(WebAssembly.Instance);
    expect(c).toBeInstanceOf(WebAssembly.CompileError);
    expect(WebAssembly.instantiate).toBe(platform);
  });

  it('is gone when what it was for fails, and is never there twice', async () => {
    const platform = WebAssembly.instantiate;
    const module = new WebAssembly.Module(withMemory);
    const fails = async () => {
      await expect(
        instantiating(
          module,
          async () => {},
          () => {},
        ),
      ).rejects.toThrow('two ONNX Runtimes');
      throw new Error('no model');
    };
    await expect(instantiating(module, fails, () => {})).rejects.toThrow('no model');
    expect(WebAssembly.instantiate).toBe(platform);
    await expect(
      instantiating(
        module,
        async () => 7,
        () => {},
      ),
    ).resolves.toBe(7);
  });
});
