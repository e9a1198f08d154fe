/**
 * What V8 makes of a kernel: the instructions of its inner loops, counted, or all of them with --all. Needs Node 22 or newer.
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
const SHOWN = [
  'tile_dot_32_4',
  'tile_dot_32m_4',
  'few_w4_1',
  'few_w4_2',
  'few_q4_1_1',
  'few_q4_k_1',
  'few_q6_k_1',
  'first_q4_1_4',
  'rest_32m_4',
];
const ATTENTION = ['pairs', 'bytes'].flatMap((way) => ['scores', 'scores2', 'values', 'values2'].map((name) => `attention-${way}/${name}`));
const names = positionals.length > 0 ? positionals : [...SHOWN, ...ATTENTION];

/** V8 compiles everything when it is told not to wait for calls. */
const COMPILE = "new WebAssembly.Module(require('node:fs').readFileSync(process.argv[2]))";

interface Instruction {
  at: number;
  text: string;
}

/** Loops, from the target of a backward jump to the jump, that call nothing (the way back from an interrupt does) and that no shorter one is in. */
function innerLoops(list: readonly Instruction[]): Instruction[][] {
  const loops = list.flatMap(({ at, text }, to) => {
    const target = Number(/^j\w+ (0x[0-9a-f]+)/.exec(text)?.[1] ?? Number.NaN);
    const from = target < at ? list.findIndex((x) => x.at === target) : -1;
    return from < 0 || list.slice(from, to).some((x) => /^(call|ret)/.test(x.text)) ? [] : [{ from, to }];
  });
  return loops
    .filter(({ from, to }) => !loops.some((l) => l.from <= to && from <= l.to && l.to - l.from < to - from))
    .map(({ from, to }) => list.slice(from, to + 1));
}

/** What computes with vectors: all but loads, stores, moves and broadcasts, which other ports do. */
const computes = ({ text }: Instruction) => /^v(?!mov|broadcast)/.test(text);

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
  console.log(`\n${name}`);
  for (const loop of innerLoops(list)) {
    const counts = new Map<string, number>();
    for (const { text } of loop) counts.set(text.split(' ')[0], (counts.get(text.split(' ')[0]) ?? 0) + 1);
    const told = [...counts].sort((a, b) => b[1] - a[1]).map(([op, n]) => `${n} ${op}`);
    const stack = loop.filter(({ text }) => text.includes('[rbp')).length;
    console.log(
      `  a loop of ${loop.length} instructions, of which ${loop.filter(computes).length} compute with vectors, ${stack} on the stack`,
    );
    console.log(values.all ? loop.map(({ text }) => `    ${text}`).join('\n') : `    ${told.join(', ')}`);
  }
}
rmSync(folder, { recursive: true });
