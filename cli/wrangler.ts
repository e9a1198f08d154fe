import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { QUIET, ROOT } from './build.ts';

/** Runs wrangler with these arguments and answers what it printed; `input` is its standard input. Rejects with its output. */
export type Wrangler = (args: readonly string[], input?: string) => Promise<string>;

export const runWrangler: Wrangler = async (args, input = '') => {
  const wrangler = createRequire(import.meta.url).resolve('wrangler/bin/wrangler.js');
  const env = { ...process.env, ...QUIET, CI: '1' }; // it asks nothing
  const child = spawn(process.execPath, [wrangler, ...args], { cwd: ROOT, env, stdio: ['pipe', 'pipe', 'pipe'] });
  let [out, err] = ['', ''];
  child.stdout.on('data', (d) => {
    out += d;
  });
  child.stderr.on('data', (d) => {
    err += d;
  });
  child.stdin.on('error', () => {}); // it has read enough
  child.stdin.end(input);
  const code = await new Promise((resolve, reject) => child.once('close', resolve).once('error', reject));
  if (code !== 0) throw new Error(`wrangler ${args.join(' ')} failed:\n${out}${err}`);
  return out;
};
