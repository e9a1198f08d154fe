import { ModelFileError } from '../error.ts';
import { Fields, parseJsonObject } from '../json.ts';
import { type TokenizerRules, type TokenizerSpec, TokenType } from './spec.ts';
import { splitRegExp } from './split.ts';

/**
 * A tokenizer as a pack stores it, loaded without parsing its tokens: 'TSTK', u32 version, u32 bytes of the rules, u32 V,
 * u32 bytes of the blob, u32 merges, u32 has scores; the rules as JSON padded to 4 bytes; offsets u32 [V + 1]; scores f32 [V];
 * merges u32 [M, 3]; types u8 [V]; blob. Little endian.
 */
const MAGIC = 0x4b545354;
const VERSION = 1;
const MAX_VOCAB = 1 << 20;

export function writeTokenizer(spec: TokenizerSpec): Uint8Array {
  const rules = new TextEncoder().encode(JSON.stringify(spec.rules).padEnd(4));
  const V = spec.types.length;
  const merges = spec.merges?.length ?? 0;
  const scores = spec.scores?.length ?? 0;
  const padded = Math.ceil(rules.length / 4) * 4;
  const words = 7 + padded / 4 + V + 1 + scores + merges;
  const out = new Uint8Array(words * 4 + V + spec.blob.length);
  const view = new DataView(out.buffer);
  [MAGIC, VERSION, rules.length, V, spec.blob.length, merges / 3, scores ? 1 : 0].forEach((v, i) => {
    view.setUint32(i * 4, v, true);
  });
  out.set(rules, 28);
  let at = 28 + padded;
  for (const part of [spec.offsets, spec.scores, spec.merges, spec.types, spec.blob]) {
    if (!part) continue;
    out.set(new Uint8Array(part.buffer, part.byteOffset, part.byteLength), at);
    at += part.byteLength;
  }
  return out;
}

/** Reads what writeTokenizer wrote; every number is checked. Throws ModelFileError. */
export function readTokenizer(bytes: Uint8Array, where = 'tokenizer'): TokenizerSpec {
  const fail = (problem: string, offset: number) => new ModelFileError(where, problem, offset);
  if (bytes.length < 32) throw fail('is too short for a tokenizer file', bytes.length);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const word = (i: number) => view.getUint32(i * 4, true);
  if (word(0) !== MAGIC) throw fail('is no tokenizer file', 0);
  if (word(1) !== VERSION) throw fail(`has version ${word(1)}, this build reads ${VERSION}; pack the model again`, 4);
  const [rulesBytes, V, blobBytes, M, hasScores] = [word(2), word(3), word(4), word(5), word(6)];
  if (V < 1 || V > MAX_VOCAB) throw fail(`has ${V} tokens, must have 1..${MAX_VOCAB}`, 12);
  if (hasScores > 1) throw fail(`has the flag ${hasScores}, must be 0 or 1`, 24);
  const rulesEnd = 28 + Math.ceil(rulesBytes / 4) * 4;
  const total = rulesEnd + (V + 1) * 4 + hasScores * V * 4 + M * 12 + V + blobBytes;
  if (total !== bytes.length) throw fail(`must have ${total} bytes, has ${bytes.length}`, 8);

  // A copy, so that the typed arrays are aligned and the file's bytes can go.
  let at = rulesEnd;
  const take = (length: number) => {
    const part = new Uint8Array(length);
    part.set(bytes.subarray(at, at + length));
    at += length;
    return part;
  };
  const offsetsAt = at;
  const offsets = new Uint32Array(take((V + 1) * 4).buffer);
  const scores = hasScores ? new Float32Array(take(V * 4).buffer) : undefined;
  const mergesAt = at;
  const merges = new Uint32Array(take(M * 12).buffer);
  const typesAt = at;
  const types = take(V);
  const blob = take(blobBytes);
  for (let i = 0; i < V; i++) {
    if (offsets[i] > offsets[i + 1]) throw fail(`token ${i} ends before it starts`, offsetsAt + i * 4);
    if (types[i] < TokenType.normal || types[i] > TokenType.byte) throw fail(`token ${i} has the unknown type ${types[i]}`, typesAt + i);
    if (scores && Number.isNaN(scores[i])) throw fail(`token ${i} has a score that is no number`, offsetsAt);
  }
  if (offsets[0] !== 0 || offsets[V] !== blobBytes) throw fail('tokens do not cover their bytes', offsetsAt);
  const bad = merges.findIndex((id) => id >= V);
  if (bad >= 0) throw fail(`merge ${Math.floor(bad / 3)} names token ${merges[bad]} of ${V}`, mergesAt + bad * 4);
  const rules = checkRules(new Fields(parseJsonObject(bytes.subarray(28, 28 + rulesBytes), `${where}: rules`), `${where}: rules`), V);
  return { rules, blob, offsets, types, ...(scores && { scores }), ...(M > 0 && { merges }) };
}

function checkRules(f: Fields, V: number): TokenizerRules {
  const oneOf = <T extends string>(key: string, values: readonly T[]): T => {
    const v = values.find((x) => x === f.get(key));
    if (v === undefined) throw f.wrong(key, f.get(key), values.join(', '));
    return v;
  };
  const ids = (key: string) =>
    f.array(key).map((id) => {
      if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id >= V) throw f.wrong(key, id, `ids in 0..${V - 1}`);
      return id;
    });
  const id = (key: string) => (f.has(key) ? f.int(key, 0, V - 1) : undefined);
  const split = f.array('split').map((s) => {
    if (typeof s !== 'string' || s.length > 4096) throw f.wrong('split', s, 'expressions');
    try {
      splitRegExp(s);
    } catch {
      throw f.wrong('split', s, 'expressions that JavaScript can use');
    }
    return s;
  });
  const [bos, eos, unknown] = [id('bos'), id('eos'), id('unknown')];
  return {
    kind: oneOf('kind', ['spm', 'bpe-bytes', 'bpe-chars']),
    split,
    ignoreMerges: f.bool('ignoreMerges', false),
    nfc: f.bool('nfc', false),
    spacePrefix: oneOf('spacePrefix', ['always', 'first', 'never']),
    spacePrefixOnce: f.bool('spacePrefixOnce', false),
    stripSpace: f.bool('stripSpace', false),
    addBos: f.bool('addBos', false),
    addEos: f.bool('addEos', false),
    stopIds: ids('stopIds'),
    lstrip: ids('lstrip'),
    rstrip: ids('rstrip'),
    ...(bos !== undefined && { bos }),
    ...(eos !== undefined && { eos }),
    ...(unknown !== undefined && { unknown }),
  };
}
