/** A CompiledWasm module (accelerator/wrangler.toml, [[rules]]). */
declare module '*.wasm' {
  const module: WebAssembly.Module;
  export default module;
}
