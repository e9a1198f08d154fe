/**
 * Builds the tensor unit's functions into .build/wasm: turnstone-npu-relaxed.wasm and turnstone-npu-simd.wasm, the same bits.
 *
 *   node wasm/npu/build.mjs           builds what is not fresh
 *   node wasm/npu/build.mjs --check   exits 1 when the modules do not belong to the sources
 */
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import asc from 'assemblyscript/asc';
import { readGenerated } from '../generate.mjs';
import { passes } from '../passes.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const out = join(root, '.build/wasm');
const variants = { relaxed: ['simd', 'relaxed-simd'], simd: ['simd'] };
const options = ['--runtime', 'stub', '--importMemory', '--noExportMemory', '--runPasses', passes, '--noAssert', '--use', 'abort='];

/** SHA-256 over everything that decides the modules' bytes. */
function fingerprint() {
  const hash = createHash('sha256').update(asc.version).update(readFileSync(join(root, 'wasm/generate.mjs'))).update(passes);
  for (const folder of ['wasm/npu', 'wasm/src']) {
    for (const file of readdirSync(join(root, folder)).sort())
      hash.update(`${folder}/${file}\0`).update(readFileSync(join(root, folder, file)));
  }
  return hash.digest('hex');
}

function read(file) {
  try {
    return readFileSync(join(out, file));
  } catch {
    return null;
  }
}

const wanted = fingerprint();
const names = Object.keys(variants).map((v) => `turnstone-npu-${v}.wasm`);
const fresh = read('npu.fingerprint')?.toString() === wanted && names.every(read);
if (process.argv.includes('--check')) {
  if (!fresh) console.error('wasm/npu: the modules in .build/wasm are stale; run node wasm/npu/build.mjs');
  process.exit(fresh ? 0 : 1);
}
if (!fresh) {
  mkdirSync(out, { recursive: true });
  for (const [variant, features] of Object.entries(variants)) {
    const file = join(out, `turnstone-npu-${variant}.wasm`);
    const { error, stderr } = await asc.main([join(root, 'wasm/npu/index.ts'), ...options, '--enable', features.join(','), '-o', file], {
      readFile: readGenerated(variant === 'relaxed', true),
    });
    if (error) {
      console.error(stderr.toString());
      process.exit(1);
    }
  }
  writeFileSync(join(out, 'npu.fingerprint'), wanted);
}
