/**
 * Stated tolerances of `webgpu-1` for whole models (docs/webgpu.md): how far a log-probability of the ten best may be from
 * wasm's, and how near two tokens must be for the other to win. One rounding that goes the other way changes an integer of
 * the next quantized activations, and from there on the difference is that of quantization itself.
 */
export const LOGPROB = 0.5;
export const GAP = 0.2;
