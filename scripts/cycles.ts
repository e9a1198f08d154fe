/** Import cycles between files: each makes its files one, one of types alone too. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';

const IMPORT = /^(?:import|export)\b[^'"]*?\bfrom\s+['"](\.[^'"]+)['"]|^import\s+['"](\.[^'"]+)['"]/gm;

/** Each cycle once, as its files in order. `files`: paths from `root`. */
export function cyclesIn(root: string, files: readonly string[]): string[][] {
  const known = new Set(files);
  const imports = new Map<string, string[]>();
  for (const file of files) {
    const found = [...readFileSync(join(root, file), 'utf8').matchAll(IMPORT)].map(([, from, alone]) =>
      normalize(join(dirname(file), from ?? alone)),
    );
    imports.set(
      file,
      found.filter((f) => known.has(f)),
    );
  }
  const cycles: string[][] = [];
  const done = new Set<string>();
  const visit = (file: string, path: string[]): void => {
    const at = path.indexOf(file);
    if (at >= 0) cycles.push(path.slice(at));
    if (at >= 0 || done.has(file)) return;
    for (const next of imports.get(file) ?? []) visit(next, [...path, file]);
    done.add(file);
  };
  for (const file of files) visit(file, []);
  return cycles;
}

/** TypeScript of the folders, but for what was made. */
export const sourcesIn = (root: string, folders: readonly string[]): string[] =>
  folders.flatMap((folder) =>
    (readdirSync(join(root, folder), { recursive: true }) as string[])
      .filter((f) => /\.tsx?$/.test(f) && !f.endsWith('.d.ts') && !f.includes('node_modules'))
      .map((f) => join(folder, f)),
  );
