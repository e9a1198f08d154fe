/** Compiles the sources with a change, to show what does not compile without the rest of it. */
import { execFile } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const FOLDERS = ['engine', 'kernels', 'models', 'simulator'];

/** In `file`, `from` becomes `to`. */
export type Change = readonly [file: string, from: string, to: string];

/** The errors after all of the changes at once: each file that does not compile, with what is said of it. Rejects when a `from` is not there. */
export async function errorsAfter(changes: readonly Change[]): Promise<{ file: string; message: string }[]> {
  const folder = mkdtempSync(join(tmpdir(), 'turnstone-types-'));
  try {
    for (const f of FOLDERS) cpSync(join(ROOT, f), join(folder, f), { recursive: true, filter: (path) => !path.includes('pebble') });
    symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
    for (const [file, from, to] of changes) {
      const text = readFileSync(join(folder, file), 'utf8');
      if (!text.includes(from)) throw new Error(`${file} has no ${from}`);
      writeFileSync(join(folder, file), text.replace(from, to));
    }
    const { compilerOptions } = JSON.parse(readFileSync(join(ROOT, 'tsconfig.base.json'), 'utf8'));
    const options = { ...compilerOptions, composite: false, emitDeclarationOnly: false, noEmit: true, rootDir: '.', outDir: undefined };
    const config = {
      compilerOptions: { ...options, lib: ['ES2023', 'DOM', 'DOM.Iterable'], types: ['node', '@webgpu/types'] },
      include: FOLDERS.map((f) => `${f}/**/*.ts`),
    };
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config));
    const out = await new Promise<string>((done) => {
      execFile(
        process.execPath,
        [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', folder, '--pretty', 'false'],
        { cwd: folder },
        (_, stdout) => done(stdout),
      );
    });
    return Array.from(out.matchAll(/^(\S+?)\(\d+,\d+\): error (.*(?:\n .*)*)/gm), ([, file, message]) => ({ file, message }));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
