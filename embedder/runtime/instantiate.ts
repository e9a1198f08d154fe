/**
 * ONNX Runtime Web makes its WebAssembly module from bytes, which Workers forbid inside a request ("Wasm code generation disallowed by
 * embedder"); there a module must be a static import. While `run` runs, `WebAssembly.instantiate` answers for one buffer alone with that
 * module; whatever else is given to it, by anybody, goes to the platform's own function unchanged. Then the platform's is put back.
 *
 * `found` gets the module's memory, even when `run` rejects later.
 */
export async function instantiating<T>(
  module: WebAssembly.Module,
  run: (bytes: ArrayBuffer) => Promise<T>,
  found: (memory: WebAssembly.Memory) => void,
): Promise<T> {
  if (busy) throw new Error('two ONNX Runtimes are started at once; await the first');
  busy = true;
  const platform = WebAssembly.instantiate;
  const bytes = new ArrayBuffer(8); // stands for the module
  const answer = async (source: unknown, imports?: WebAssembly.Imports): Promise<unknown> => {
    if (source !== bytes && !(ArrayBuffer.isView(source) && source.buffer === bytes)) {
      return Reflect.apply(platform, WebAssembly, [source, imports]);
    }
    const instance: WebAssembly.Instance = await Reflect.apply(platform, WebAssembly, [module, imports]);
    const memory = memoryOf(imports, instance);
    if (memory) found(memory);
    return { module, instance };
  };
  WebAssembly.instantiate = answer as typeof WebAssembly.instantiate;
  try {
    return await run(bytes);
  } finally {
    WebAssembly.instantiate = platform;
    busy = false;
  }
}

let busy = false;

/** The memory that the module imports or exports: its size is what a model takes. */
function memoryOf(imports: WebAssembly.Imports | undefined, instance: WebAssembly.Instance): WebAssembly.Memory | undefined {
  const all = [...Object.values(imports ?? {}).flatMap((m) => Object.values(m)), ...Object.values(instance.exports)];
  return all.find((v): v is WebAssembly.Memory => v instanceof WebAssembly.Memory);
}
