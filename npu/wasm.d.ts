/** A CompiledWasm module (npu/wrangler.toml, [[rules]]). */
declare module '*.wasm' {
  const module: WebAssembly.Module;
  export default module;
}
