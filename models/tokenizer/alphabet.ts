/**
 * GPT-2's alphabet: byte-level BPE writes every byte as one printable character, itself when it is printable Latin-1,
 * otherwise one from U+0100 on (openai/gpt-2, encoder.py, bytes_to_unicode).
 */
export const byteToChar: readonly string[] = (() => {
  const printable = (b: number) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_, b) => String.fromCharCode(printable(b) ? b : next++));
})();

const charToByte = new Map(byteToChar.map((c, b) => [c.charCodeAt(0), b]));
const utf8 = new TextEncoder();

/** Bytes that a token written in the alphabet stands for; its UTF-8 when it has a character outside. */
export function alphabetBytes(token: string): Uint8Array {
  const out = new Uint8Array(token.length);
  for (let i = 0; i < token.length; i++) {
    const b = charToByte.get(token.charCodeAt(i));
    if (b === undefined) return utf8.encode(token);
    out[i] = b;
  }
  return out;
}

/** The byte of SPM's byte tokens, `<0x0A>` → 10; -1 when the text is no such token. */
export function byteTokenValue(token: string): number {
  return /^<0x[0-9A-Fa-f]{2}>$/.test(token) ? Number.parseInt(token.slice(3, 5), 16) : -1;
}
