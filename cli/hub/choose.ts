/** Which files of a repository are the model, and which quantization fits. */

import { size } from '../table.ts';
import type { HubFile } from './client.ts';
import { PullError } from './error.ts';

export interface Choice {
  files: HubFile[];
  /** The file or folder's name that the model goes by. */
  main: string;
  /** Why these, in a line; undefined when they were asked for. */
  why?: string;
}

/** Quantizations from the most exact to the coarsest that still serve; what an F16 file loses in 8 bits cannot be measured. */
const QUALITY = [
  ...[
    'Q8_0',
    'Q6_K_L',
    'Q6_K',
    'Q5_K_L',
    'Q5_K_M',
    'Q5_K_S',
    'Q5_1',
    'Q5_0',
    'Q4_K_L',
    'Q4_K_M',
    'Q4_1',
    'Q4_K_S',
    'IQ4_NL',
    'IQ4_XS',
    'Q4_0',
  ],
  ...['F16', 'BF16', 'F32'],
];
const USUAL = ['Q4_K_M', 'Q4_0', 'Q4_K_S', 'Q5_K_M', 'Q8_0'];
/** Of an isolate: what JavaScript, activations and a KV cache of some 1,000 tokens take beside the weights (engine/plan.ts counts exactly). */
const BESIDE = 36 << 20;
const FOLDER = [
  /^config\.json$/,
  /^generation_config\.json$/,
  /^tokenizer\.json$/,
  /^tokenizer_config\.json$/,
  /^chat_template\.(jinja|json)$/,
];
const WEIGHTS = /^model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?$/;

/** The quantization that a GGUF file's name ends with, in capitals; '' when it names none. */
export function quantOf(path: string): string {
  const base = path.slice(path.lastIndexOf('/') + 1).replace(/\.gguf$/i, '');
  return /(?:^|[-._])((?:U[DT]-)?(?:I?Q\d\w*|MXFP4\w*|BF16|F16|F32))$/i.exec(base)?.[1].toUpperCase() ?? '';
}

/**
 * Chooses. `pick`: a path, a quantization, or nothing: then the most exact GGUF that fits an isolate of `memoryBytes`, else
 * a usual one, else the safetensors. Throws PullError with what there is.
 */
export function choose(repo: string, files: readonly HubFile[], memoryBytes: number, pick?: string): Choice {
  const exact = pick === undefined ? undefined : files.find((f) => f.path === pick);
  if (exact && !/\.gguf$/i.test(exact.path))
    throw new PullError(`${exact.path} is no GGUF file; leave the file out for the safetensors of ${repo}`);
  if (exact) return single(exact);
  const ggufs = files.filter((f) => /\.gguf$/i.test(f.path) && !/(^|[-_/])(mmproj|imatrix)/i.test(f.path));
  const whole = ggufs.filter((f) => !/-\d{5}-of-\d{5}\.gguf$/i.test(f.path));
  if (pick !== undefined) {
    const found = whole.filter((f) => quantOf(f.path) === pick.toUpperCase());
    if (found.length === 1) return single(found[0]);
    if (found.length > 1)
      throw new PullError(`${repo} has ${found.length} files of ${pick}: name one, ${found.map((f) => f.path).join(', ')}`);
    throw new PullError(`${repo} has no ${pick}; it has ${kinds(whole) || 'no GGUF file'}`);
  }
  if (whole.length > 0) return bestOf(whole, memoryBytes);
  if (ggufs.length > 0) throw new PullError(`the GGUF files of ${repo} are split in parts; find a repository with whole ones`);
  return folderOf(repo, files);
}

const single = (f: HubFile, why?: string): Choice => ({ files: [f], main: f.path.slice(f.path.lastIndexOf('/') + 1), ...(why && { why }) });

const kinds = (files: readonly HubFile[]): string => files.map((f) => quantOf(f.path) || f.path).join(', ');

function bestOf(files: readonly HubFile[], memoryBytes: number): Choice {
  const known = files
    .map((file) => ({ file, rank: QUALITY.indexOf(quantOf(file.path)) }))
    .filter((x) => x.rank >= 0)
    .sort((a, b) => a.rank - b.rank);
  if (known.length === 0) {
    if (files.length === 1) return single(files[0], 'the only file');
    throw new PullError(`name one of ${files.map((f) => f.path).join(', ')}`);
  }
  const fits = known.find((x) => x.file.bytes <= memoryBytes - BESIDE);
  if (fits) return single(fits.file, `${quantOf(fits.file.path)} is the most exact that fits ${size(memoryBytes)}`);
  const usual = USUAL.map((q) => known.find((x) => QUALITY[x.rank] === q)).find((x) => x) ?? known.at(-1)!;
  return single(usual.file, `${quantOf(usual.file.path)} is usual; none fits an isolate of ${size(memoryBytes)}`);
}

function folderOf(repo: string, files: readonly HubFile[]): Choice {
  const weights = files.filter((f) => WEIGHTS.test(f.path));
  const rest = files.filter((f) => FOLDER.some((r) => r.test(f.path)));
  const missing = ['config.json', 'tokenizer.json'].filter((name) => !rest.some((f) => f.path === name));
  if (weights.length === 0) throw new PullError(`${repo} has neither a GGUF file nor model.safetensors`);
  if (missing.length > 0) throw new PullError(`${repo} has no ${missing.join(' and no ')} beside its safetensors`);
  return { files: [...rest, ...weights], main: repo.slice(repo.indexOf('/') + 1), why: 'its safetensors; there is no GGUF file' };
}
