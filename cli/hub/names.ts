/** The names a model can be asked for by: a short one of the catalogue, or `hf:org/repo[@revision][:quant or file]`. */
import catalogue from './catalogue.json' with { type: 'json' };
import { PullError } from './error.ts';

/** A model of the catalogue. Sizes are the files', in bytes; digests are there where the file was held in hand. */
export interface Entry {
  /** `org/repo` on the hub. */
  repo: string;
  /** Commit, tag or branch; `main` where none is pinned. What was pulled keeps its commit. */
  revision?: string;
  /** The file or quantization that is taken. */
  pick: string;
  sha256?: string;
  bytes?: number;
  parameters: string;
  licence: string;
  /** Isolates of 128 MB that it takes, and the tokens of context that it has there, as `inspect` says. */
  isolates: number;
  context: number;
  /** As served, where it was: perplexity (`npm run bench -- quality`), and tokens/s of one stream (docs/stages.md). `of`: what was measured, when not this file. */
  measured?: { perplexity?: number; decode?: number; of?: string };
  /** What it is good for, in a line. */
  about: string;
}

export interface Wanted {
  /** As it is kept and listed: the catalogue's name, or the reference itself. */
  name: string;
  repo: string;
  revision: string;
  /** A file's path, or a quantization such as `Q4_K_M`; undefined: what fits best. */
  pick?: string;
  entry?: Entry;
}

export const CATALOGUE: Readonly<Record<string, Entry>> = catalogue;

const REFERENCE = /^hf:([\w.-]+\/[\w.-]+)(?:@([\w./-]+))?(?::([\w./-]+))?$/;

/** Whether a text names a model of the hub or the catalogue, and no path. */
export const isModelName = (text: string): boolean => text.startsWith('hf:') || Object.hasOwn(CATALOGUE, text);

/** Reads a name. Throws PullError with the names there are. */
export function parseName(text: string): Wanted {
  if (Object.hasOwn(CATALOGUE, text)) {
    const entry = CATALOGUE[text];
    return { name: text, repo: entry.repo, revision: entry.revision ?? 'main', pick: entry.pick, entry };
  }
  const [, repo, revision = 'main', pick] = REFERENCE.exec(text) ?? [];
  if (!repo || /(^|\/)\.\.?(\/|$)/.test(`${repo}/${revision}/${pick ?? ''}`)) {
    throw new PullError(
      `"${text}" names no model: give one of ${Object.keys(CATALOGUE).join(', ')}, or hf:org/repo[@revision][:quant or file], such as hf:Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF:Q4_K_M`,
    );
  }
  return { name: text, repo, revision, ...(pick && { pick }) };
}
