/**
 * What V8 makes of a kernel: the instructions of its inner loop, counted, or all of them with --all. Needs Node 22 or newer.
 *
 *   npx tsx bench/assembly.ts [tile_dot_32m_4 few_q4_1_1 …] [--all]
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ROOT } from '../cli/build.ts';

const { values, positionals } = parseArgs({ allowPositionals: true, options: { all: { type: 'boolean', default: false } } });
const SHOWN = ['tile_dot_32_4', 'tile_dot_32m_4', 'few_w4_1', 'few_w4_2', 'few_q4_1_1', 'few_q4_k_1', 'few_q6_k_1'];
const ATTENTION = ['attention-i8/scores', 'attention-i8/scores2', 'attention-i8/values', 'attention-i8/values2'];
const names = positionals.length > 0 ? positionals : [...SHOWN, ...ATTENTION];

/** V8 compiles everything when it is told not to wait for calls. */
const COMPILE = "new WebAssembly.Module(require('node:fs').readFileSync(process.argv[2]))";

interface Instruction {
  at: number;
  text: string;
}

/** The instructions from the target of a backward jump to the jump: the loop that has the most products of integers, the innermost of them. */
function innerLoop(list: readonly Instruction[]): Instruction[] {
  const loops = list.flatMap(({ at, text }, i) => {
    const target = Number(/^j\w+ (0x[0-9a-f]+)/.exec(text)?.[1] ?? Number.NaN);
    return target < at
      ? [
          list.slice(
            list.findIndex((x) => x.at === target),
            i + 1,
          ),
        ]
      : [];
  });
  const dots = (loop: readonly Instruction[]) => loop.filter(({ text }) => /dpbusd|sdot|pmaddwd|smull/.test(text)).length;
  return loops.sort((a, b) => dots(b) - dots(a) || a.length - b.length)[0] ?? [];
}

execFileSync(process.execPath, [join(ROOT, 'wasm/build.mjs'), '--text']);
const text = readFileSync(join(ROOT, '.build/wasm/turnstone-relaxed.wat'), 'utf8');
const functions = [...text.matchAll(/^ \(func \$(\S+)/gm)].map(([, name]) => `/${name}`);
const folder = mkdtempSync(join(tmpdir(), 'turnstone-assembly-'));
const script = join(folder, 'calls.cjs');
writeFileSync(script, COMPILE);
console.log(`V8 ${process.versions.v8}, ${process.arch}`);
for (const name of names) {
  const index = functions.findIndex((f) => f.endsWith(`/${name}`));
  if (index < 0) throw new Error(`there is no function ${name}`);
  const flags = ['--no-liftoff', '--no-wasm-lazy-compilation', `--print-wasm-code-function-index=${index}`];
  const printed = execFileSync(process.execPath, [...flags, script, join(ROOT, '.build/wasm/turnstone-relaxed.wasm')], {
    ...{ encoding: 'utf8', maxBuffer: 1 << 28 },
  });
  const list = [...printed.matchAll(/^(0x[0-9a-f]+) +[0-9a-f]+ +[0-9a-f]+ +(?:REX\.W )?(.*)$/gm)].map(([, at, line]) => ({
    ...{ at: Number(at), text: line.trim() },
  }));
  const loop = innerLoop(list);
  const counts = new Map<string, number>();
  for (const { text } of loop) counts.set(text.split(' ')[0], (counts.get(text.split(' ')[0]) ?? 0) + 1);
  const told = [...counts].sort((a, b) => b[1] - a[1]).map(([op, n]) => `${n} ${op}`);
  console.log(
    `\n${name}: ${loop.length} instructions in its inner loop, ${loop.filter(({ text }) => text.includes('[rbp')).length} on the stack`,
  );
  console.log(values.all ? loop.map(({ text }) => `  ${text}`).join('\n') : `  ${told.join(', ')}`);
}
rmSync(folder, { recursive: true });
