import { ModelFileError } from '../error.ts';
import type { Fields } from '../json.ts';
import type { TokenizerRules } from './spec.ts';
import { GPT2_SPLIT, splitRegExp } from './split.ts';

/** What tokenizer.json's normalizer, pre-tokenizer and decoder come to. */
export class TextRules {
  /** Byte-level: tokens are written in GPT-2's alphabet. */
  bytes = false;
  split: string[] = [];
  nfc = false;
  spacePrefix: TokenizerRules['spacePrefix'] = 'never';
  spacePrefixOnce = false;
  stripSpace = false;
}

/** Fills `rules` from the parts of tokenizer.json. Throws ModelFileError naming the part that is not implemented. */
export function preRules(rules: TextRules, top: Fields): void {
  for (const n of steps(top.maybe('normalizer'), 'normalizers')) normalizer(rules, n);
  for (const p of steps(top.maybe('pre_tokenizer'), 'pretokenizers')) preTokenizer(rules, p);
  for (const d of steps(top.maybe('decoder'), 'decoders')) {
    const type = d.string('type');
    if (type === 'ByteLevel') rules.bytes = true;
    if (type === 'Strip') rules.stripSpace = d.int('start', 0, 1, 0) === 1;
    if (type === 'Metaspace') rules.stripSpace = rules.spacePrefix !== 'never';
  }
}

/** The parts of a Sequence in order, or the part itself. */
function steps(part: Fields | undefined, key: string): Fields[] {
  if (!part) return [];
  return part.string('type') === 'Sequence' ? part.objects(key).flatMap((p) => steps(p, key)) : [part];
}

function normalizer(rules: TextRules, n: Fields): void {
  const type = n.string('type');
  if (type === 'NFC') rules.nfc = true;
  else if (type === 'Prepend' && n.string('prepend') === '▁') rules.spacePrefix = 'always';
  else if (type === 'Replace' && n.object('pattern').string('String', '') === ' ' && n.string('content') === '▁') return;
  else throw unknown(n, type);
}

function preTokenizer(rules: TextRules, p: Fields): void {
  const type = p.string('type');
  if (type === 'ByteLevel') {
    rules.bytes = true;
    if (p.bool('use_regex', true)) rules.split.push(GPT2_SPLIT);
    if (p.bool('add_prefix_space', false)) {
      rules.spacePrefix = 'always';
      rules.spacePrefixOnce = true;
    }
  } else if (type === 'Digits') {
    rules.split.push(p.bool('individual_digits', false) ? '\\p{N}' : '\\p{N}+');
  } else if (type === 'Split') {
    const behavior = p.string('behavior');
    if (behavior !== 'Isolated' && !(behavior === 'Removed' && p.bool('invert', false)))
      throw unknown(p, `Split with behavior ${behavior}`);
    const pattern = p.object('pattern');
    const source = pattern.has('Regex') ? pattern.string('Regex') : pattern.string('String').replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
    try {
      splitRegExp(source);
    } catch (e) {
      throw new ModelFileError(p.where, `the expression cannot be used: ${(e as Error).message}`);
    }
    rules.split.push(source);
  } else if (type === 'Metaspace') {
    const scheme = p.string('prepend_scheme', p.bool('add_prefix_space', true) ? 'always' : 'never');
    if (scheme !== 'always' && scheme !== 'first' && scheme !== 'never') throw p.wrong('prepend_scheme', scheme, 'always, first or never');
    rules.spacePrefix = scheme;
    rules.spacePrefixOnce = true;
    if (p.bool('split', true)) rules.split.push(' [^ ]*|[^ ]+');
  } else throw unknown(p, type);
}

const unknown = (part: Fields, what: string) => new ModelFileError(part.where, `${what} is not implemented`);
