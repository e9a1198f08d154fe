/** Vectors in OpenAI's form. */

export interface EmbeddingsResponse {
  object: 'list';
  data: { object: 'embedding'; index: number; embedding: number[] | string }[];
  model: string;
  usage: { prompt_tokens: number; total_tokens: number };
}

export function embeddingsResponse(
  model: string,
  vectors: readonly Float32Array[],
  format: 'float' | 'base64',
  tokens: number,
): EmbeddingsResponse {
  const write = format === 'base64' ? base64 : floats;
  return {
    object: 'list',
    data: vectors.map((v, index) => ({ object: 'embedding', index, embedding: write(v) })),
    model,
    usage: { prompt_tokens: tokens, total_tokens: tokens },
  };
}

/** Nine digits name every float32; the seventeen of a double would double the answer's size. */
const floats = (v: Float32Array): number[] => Array.from(v, (x) => Number(x.toPrecision(9)));

const DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

/** Little-endian float32, as OpenAI's clients read it. */
function base64(v: Float32Array): string {
  const view = new DataView(new ArrayBuffer(v.length * 4));
  v.forEach((x, i) => {
    view.setFloat32(i * 4, x, true);
  });
  const n = view.byteLength;
  const at = (i: number) => (i < n ? view.getUint8(i) : 0);
  let text = '';
  for (let i = 0; i < n; i += 3) {
    const bits = (at(i) << 16) | (at(i + 1) << 8) | at(i + 2);
    const digit = (k: number) => DIGITS[(bits >> (18 - 6 * k)) & 63];
    text += digit(0) + digit(1) + (i + 1 < n ? digit(2) : '=') + (i + 2 < n ? digit(3) : '=');
  }
  return text;
}
