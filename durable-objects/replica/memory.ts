/**
 * What JavaScript takes of the isolate: code, heap and streams, and what grows with the vocabulary. Measured for 49,152
 * tokens (Node, after gc): tokenizer 2.3 MB, grammar compiler with masks 1.0 MB, 67 bytes a token; taken one and a half times.
 */
export const jsBytes = (vocab: number): number => (16 << 20) + vocab * 100;
