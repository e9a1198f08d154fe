const M0 = 0xd2511f53;
const M1 = 0xcd9e8d57;
const W0 = 0x9e3779b9;
const W1 = 0xbb67ae85;

/** High and low half of a 32 × 32 bit product. */
function mulHiLo(a: number, b: number): [hi: number, lo: number] {
  const a0 = a & 0xffff;
  const a1 = a >>> 16;
  const b0 = b & 0xffff;
  const b1 = b >>> 16;
  const low = a0 * b0;
  const mid = a1 * b0 + (low >>> 16); // < 2³²
  const mid2 = a0 * b1 + (mid & 0xffff); // < 2³²
  const hi = a1 * b1 + Math.floor(mid / 65536) + Math.floor(mid2 / 65536);
  return [hi >>> 0, Math.imul(a, b) >>> 0];
}

/**
 * Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11): four random words from a key
 * and a counter, and nothing else. Checked against Random123's known answers.
 */
export function philox(
  key: readonly [number, number],
  counter: readonly [number, number, number, number],
): [number, number, number, number] {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const [h0, l0] = mulHiLo(M0, c0);
    const [h1, l1] = mulHiLo(M1, c2);
    c0 = (h1 ^ c1 ^ k0) >>> 0;
    c1 = l1;
    c2 = (h0 ^ c3 ^ k1) >>> 0;
    c3 = l0;
    k0 = (k0 + W0) >>> 0;
    k1 = (k1 + W1) >>> 0;
  }
  return [c0, c1, c2, c3];
}

/** The draw of token `index` of a sequence: 53 random bits in [0, 1). */
export function uniform(seed: readonly [number, number], index: number): number {
  const [a, b] = philox([seed[0] >>> 0, seed[1] >>> 0], [index >>> 0, 0, 0, 0]);
  return ((a >>> 5) * 67108864 + (b >>> 6)) / 9007199254740992;
}
