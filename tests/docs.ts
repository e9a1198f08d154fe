/** The fenced blocks of the README and of docs/, for the tests that hold them. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { buildSync } from 'esbuild';
import { ROOT } from '../cli/build.ts';

const markdown = (folder: string) =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' }).flatMap((f) => (f.endsWith('.md') ? [join(folder, f)] : []));
export const PAGES = ['README.md', ...markdown('docs')];

export interface Block {
  page: string;
  line: number;
  /** What stands behind the fence. */
  language: string;
  text: string;
}

export function blocksOf(page: string): Block[] {
  const all = readFileSync(join(ROOT, page), 'utf8');
  return [...all.matchAll(/^( *)```(\w*)\n(.*?)^ *```$/gms)].map(({ 1: indent, 2: language, 3: text, index }) => ({
    page,
    line: all.slice(0, index).split('\n').length,
    language,
    text: text.replaceAll(new RegExp(`^${indent}`, 'gm'), ''),
  }));
}

/** A page's programs. */
export const programsOf = (page: string): string[] => blocksOf(page).flatMap(({ language, text }) => (language === 'ts' ? [text] : []));

const LOCAL = /http:\/\/(127\.0\.0\.1|localhost):8787/g;

/** Runs a program of a page as it stands there, against the server at `url`, with `key` where it has `any`; what it prints. Its imports are this repository's. */
export async function runProgram(code: string, url: string, key = 'any'): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'turnstone-program-'));
  try {
    symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
    buildSync({
      stdin: { contents: code.replaceAll(LOCAL, url).replaceAll("apiKey: 'any'", `apiKey: '${key}'`), loader: 'ts', resolveDir: folder },
      ...{ outfile: join(folder, 'program.mjs'), format: 'esm', target: 'node20', bundle: true, platform: 'node', packages: 'external' },
      alias: { 'turnstone/client': join(ROOT, 'library/client.ts') },
    });
    return (await promisify(execFile)(process.execPath, [join(folder, 'program.mjs')], { timeout: 60_000 })).stdout;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
