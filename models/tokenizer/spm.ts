import { charLength, type PieceEncoder } from './bpe.ts';
import { mergeAll } from './merge.ts';
import type { TokenizerSpec } from './spec.ts';
import type { Vocabulary } from './vocabulary.ts';

/**
 * SentencePiece's BPE: starts from characters, joins the neighbours whose union is the token of the highest score (Kudo and
 * Richardson; sentencepiece's bpe_model.cc), and writes what is no token as byte tokens.
 */
export function spmEncoder(spec: TokenizerSpec, vocabulary: Vocabulary): PieceEncoder {
  const ranks = scoreRanks(spec.scores ?? new Float32Array(spec.types.length));
  const { byteIds } = vocabulary;
  const unknown = spec.rules.unknown ?? -1;

  return (bytes, n, out) => {
    const start = new Int32Array(n + 1);
    let count = 0;
    for (let i = 0; i < n; i += charLength(bytes[i])) start[count++] = i;
    const end = new Int32Array(count);
    for (let i = 0; i < count; i++) end[i] = i + 1 < count ? start[i + 1] : n;
    const next = new Int32Array(count);
    const rank = (i: number, j: number) => {
      const id = vocabulary.find(bytes, start[i], end[j]);
      return id < 0 ? -1 : ranks[id];
    };
    mergeAll(count, next, rank, (i, j) => {
      end[i] = end[j];
    });
    let afterUnknown = false;
    for (let i = count > 0 ? 0 : -1; i >= 0; i = next[i]) {
      const id = vocabulary.find(bytes, start[i], end[i]);
      if (id >= 0) out.push(id);
      let missing = false;
      if (id < 0) {
        for (let b = start[i]; b < end[i]; b++) {
          if (byteIds[bytes[b]] >= 0) out.push(byteIds[bytes[b]]);
          else missing = true;
        }
      }
      if (missing && !afterUnknown && unknown >= 0) out.push(unknown);
      afterUnknown = missing;
    }
  };
}

/** Rank of every token: 0 for the highest score, the same for equal scores. */
function scoreRanks(scores: Float32Array): Int32Array {
  const distinct = [...new Set(scores)].sort((a, b) => b - a);
  const rankOf = new Map(distinct.map((s, i) => [s, i]));
  return Int32Array.from(scores, (s) => rankOf.get(s) as number);
}
