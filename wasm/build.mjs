/**
 * Builds the wasm kernels: one source, two modules in .build/wasm.
 *   turnstone-relaxed.wasm  i16x8.relaxed_dot_i8x16_i7x16_s where it helps (workerd, current browsers, Node 22)
 *   turnstone-simd.wasm     plain 128-bit SIMD (Node 20); the same bits
 *
 *   node wasm/build.mjs           builds what is not fresh
 *   node wasm/build.mjs --check   exits 1 when the modules do not belong to the sources
 *   node wasm/build.mjs --text    writes the .wat files and the generated source too
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';
import { generate, readGenerated } from './generate.mjs';
import { passes } from './passes.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const out = join(root, '.build/wasm');
const source = join(root, 'wasm/src');
const variants = { relaxed: ['simd', 'relaxed-simd'], simd: ['simd'] };
const options = ['--runtime', 'stub', '--importMemory', '--noExportMemory', '--noAssert', '--use', 'abort=', '--disableWarning', '112'];

/** SHA-256 over everything that decides the modules' bytes. */
function fingerprint() {
  const hash = createHash('sha256');
  const files = readdirSync(source).sort();
  for (const file of ['build.mjs', 'generate.mjs', 'passes.mjs', ...files.map((f) => `src/${f}`)])
    hash.update(`${file}\0`).update(readFileSync(join(root, 'wasm', file)));
  return hash.update(asc.version).digest('hex');
}

const wanted = fingerprint();
const read = (file) => {
  try {
    return readFileSync(join(out, file));
  } catch {
    return null;
  }
};
const fresh = read('fingerprint')?.toString() === wanted && Object.keys(variants).every((v) => read(`turnstone-${v}.wasm`));

if (process.argv.includes('--check')) {
  if (!fresh) console.error('wasm: the modules in .build/wasm are stale; run node wasm/build.mjs');
  process.exit(fresh ? 0 : 1);
}
const text = process.argv.includes('--text');
if (!fresh || text) {
  mkdirSync(out, { recursive: true });
  for (const [variant, features] of Object.entries(variants)) {
    const name = join(out, `turnstone-${variant}`);
    const args = [join(source, 'index.ts'), ...options, '--runPasses', passes, '--enable', features.join(','), '-o', `${name}.wasm`];
    if (text) {
      args.push('-t', `${name}.wat`);
      writeFileSync(`${name}.generated.ts`, generate(variant === 'relaxed'));
    }
    const { error, stderr } = await asc.main(args, { readFile: readGenerated(variant === 'relaxed') });
    if (error) {
      console.error(stderr.toString());
      process.exit(1);
    }
  }
  writeFileSync(join(out, 'fingerprint'), wanted);
}
