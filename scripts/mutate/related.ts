/** Which files a test reaches: what it imports, what that imports, and modules it names to bundle them. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';

const NAMED = /['"`]((?:\.{1,2}\/)?[\w@-][\w./@-]*\.ts|\.{1,2}\/[\w./-]+)['"`]/g;

export class Related {
  readonly #root: string;
  readonly #named = new Map<string, string[]>();

  constructor(root: string) {
    this.#root = root;
  }

  /** All files that `file` reaches, itself included, and by how many steps; paths relative to the repository. */
  reach(file: string): Map<string, number> {
    const found = new Map([[file, 0]]);
    for (const [at, steps] of found) for (const next of this.#names(at)) if (!found.has(next)) found.set(next, steps + 1);
    return found;
  }

  #names(file: string): string[] {
    let named = this.#named.get(file);
    if (named) return named;
    const path = join(this.#root, file);
    named = [];
    for (const [, name] of readFileSync(path, 'utf8').matchAll(NAMED)) {
      // a module's specifier, or a path from the root that a bundler is given
      const hit = [resolve(dirname(path), name), resolve(this.#root, name)].find(
        (p) => p.endsWith('.ts') && existsSync(p) && statSync(p).isFile(),
      );
      if (hit && !relative(this.#root, hit).startsWith('..')) named.push(relative(this.#root, hit));
    }
    this.#named.set(file, named);
    return named;
  }
}
