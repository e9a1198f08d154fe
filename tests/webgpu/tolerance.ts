/**
 * Stated tolerances of `webgpu-1` for whole models (docs/webgpu.md): how far a log-probability of the ten best may be from
 * wasm's, and how near two tokens must be for the other to win. One rounding that goes the other way changes an integer of
 * the next quantized activations, and from there on the difference is that of quantization itself: wasm parts from itself
 * as far when its norm gains are off by 1e-7 (perturbed.ts). Ops alone are held to a few 1e-7.
 */
export const LOGPROB = 1;
/** The same in the mean, over all tokens that were compared: a fault shows here that no single token does. */
export const MEAN = 0.1;
export const GAP = 0.25;
