/**
 * `turnstone.chain`: any run of elementwise functions and sums over rows as one op that goes through SRAM once: y[R, C] of inputs that are
 * [R, C], one value a row, or one row for all. It is an op from outside: nothing in simulator knows it.
 */
import { type DeviceSpec, tilesOf } from '../../simulator/device/index.ts';
import { block, bytes, cut, DIV, load, type Options, span, store, vec } from '../../simulator/ops/common.ts';
import { type OutsideOp, type OutsideShape, registerOp, type VectorFunction } from '../../simulator/ops/outside.ts';
import { Builder, Ring } from '../../simulator/program/builder.ts';
import type { Program, Vec } from '../../simulator/program/isa.ts';
import type { Sram } from '../../simulator/run/memory.ts';

/** [function, operands]: registers (inputs first, then a step's result each) or constants. */
export type Operand = number | { readonly c: number };
export type Step = readonly [fn: string, ...operands: Operand[]];

export interface Chain extends OutsideShape {
  readonly R: number;
  readonly C: number;
  readonly inputs: readonly ('element' | 'row' | 'column')[];
  readonly steps: readonly Step[];
  /** Registers that are stored, as y0, y1 … */
  readonly outputs: readonly number[];
}

const f = Math.fround;
const erf = (x: number): number => {
  // Abramowitz and Stegun 7.1.26, |error| < 1.5e-7
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const y = 1 - ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t * Math.exp(-x * x);
  return x < 0 ? -y : y;
};
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/** Function of an element and the vector unit's operations for it (an exponential is 20). */
const ELEMENT: Record<string, [ops: number, fn: (a: number, b: number) => number]> = {
  add: [1, (a, b) => a + b],
  sub: [1, (a, b) => a - b],
  mul: [1, (a, b) => a * b],
  div: [4, (a, b) => a / b],
  maximum: [1, Math.max],
  minimum: [1, Math.min],
  neg: [1, (a) => -a],
  abs: [1, Math.abs],
  relu: [1, (a) => Math.max(a, 0)],
  exp: [20, (a) => Math.exp(a)],
  log: [20, (a) => Math.log(a)],
  sqrt: [4, (a) => Math.sqrt(a)],
  rsqrt: [5, (a) => 1 / Math.sqrt(a)],
  reciprocal: [4, (a) => 1 / a],
  square: [1, (a) => a * a],
  sigmoid: [25, sigmoid],
  silu: [26, (a) => a * sigmoid(a)],
  tanh: [26, Math.tanh],
  erf: [32, erf],
  gelu: [36, (a) => 0.5 * a * (1 + erf(a * Math.SQRT1_2))],
  'gelu-tanh': [32, (a) => 0.5 * a * (1 + Math.tanh(0.7978845608028654 * (a + 0.044715 * a * a * a)))],
};
const ROW: Record<string, (x: Float32Array) => number> = {
  sum: (x) => x.reduce((n, v) => f(n + v), 0),
  mean: (x) => f(x.reduce((n, v) => f(n + v), 0) / x.length),
  amax: (x) => x.reduce((n, v) => Math.max(n, v), Number.NEGATIVE_INFINITY),
};

/** Names of the functions that a chain may use. */
export const chainFunctions: readonly string[] = [...Object.keys(ELEMENT), ...Object.keys(ROW)];

const cost = (s: Step): number => ELEMENT[s[0]]?.[0] ?? 1;

const functions: Record<string, VectorFunction> = {};
const names = new Map<string, string>();

/** The vector function of a chain, made once for all of the same steps. */
function functionOf(s: Chain): string {
  const key = JSON.stringify([s.inputs, s.steps, s.outputs]);
  let name = names.get(key);
  if (!name) {
    name = `turnstone.chain:${names.size}`;
    names.set(key, name);
    functions[name] = run(s);
  }
  return name;
}

function run({ inputs, steps, outputs }: Chain): VectorFunction {
  return (sram, p) => {
    for (let r = 0; r < p.rows; r++) {
      const registers: Float32Array[] = inputs.map((kind, i) => {
        const at = p[`x${i}`] >> 2;
        if (kind === 'row') return sram.f32.subarray(at + r, at + r + 1);
        const from = kind === 'column' ? at : at + r * p.C;
        return sram.f32.subarray(from, from + p.C);
      });
      for (const step of steps) registers.push(evaluate(step, registers));
      outputs.forEach((o, i) => {
        const at = (p[`y${i}`] >> 2) + r * p.C;
        const y = registers[o];
        if (y.length === 1) sram.f32.fill(y[0], at, at + p.C);
        else sram.f32.set(y, at);
      });
    }
  };
}

function evaluate([fn, ...operands]: Step, registers: readonly Float32Array[]): Float32Array {
  const value = (o: Operand): Float32Array => (typeof o === 'number' ? registers[o] : Float32Array.of(o.c));
  const a = value(operands[0]);
  const row = ROW[fn];
  if (row) return Float32Array.of(row(a));
  const b = operands.length > 1 ? value(operands[1]) : a;
  const n = Math.max(a.length, b.length);
  const out = new Float32Array(n);
  const one = ELEMENT[fn][1];
  for (let i = 0; i < n; i++) out[i] = one(a[a.length === 1 ? 0 : i], b[b.length === 1 ? 0 : i]);
  return out;
}

/** Arguments: x0, x1 … f32, y0, y1 … f32 [R, C]. */
function compile(d: DeviceSpec, shape: OutsideShape, o: Options): Program {
  const s = shape as Chain;
  const { R, C, inputs, steps, outputs } = s;
  const unknown = steps.find(([fn]) => !chainFunctions.includes(fn));
  if (unknown) throw new Error(`turnstone.chain: no function ${unknown[0]}, have ${chainFunctions.join(', ')}`);
  const fn = functionOf(s);
  const ops = steps.reduce((n, step) => n + cost(step), 0);
  const b = new Builder(
    d,
    `${steps
      .map(([name]) => name)
      .join('+')
      .slice(0, 60)} ${R}x${C}`,
    ops * R * C,
  );
  const depth = o.doubleBuffer ? 2 : 1;
  const tiles = Math.min(tilesOf(d), R);
  const each = (inputs.filter((k) => k === 'element').length + outputs.length) * C * 4 + inputs.filter((k) => k === 'row').length * 4;
  const fixed = inputs.filter((k) => k === 'column').length * C * 4;
  const most = Math.max(1, Math.floor((d.tile.sramKiB * 1024 * 0.8 - fixed) / (depth * each + 64)));
  const size = Math.min(most, DIV(R, tiles));
  const width = (kind: string): number => (kind === 'row' ? 4 : C * 4);
  const ins = inputs.map((kind, i) => new Ring(b, kind === 'column' ? C * 4 : size * width(kind), kind === 'column' ? 1 : depth, `x${i}`));
  const outs = outputs.map((_, i) => new Ring(b, size * C * 4, depth, `y${i}`));
  for (let t = 0; t < tiles; t++) {
    const from = cut(R, tiles, t);
    const rows = cut(R, tiles, t + 1) - from;
    const parts = DIV(rows, size);
    for (let use = 0; use < parts; use++) {
      const row = from + cut(rows, parts, use);
      const n = from + cut(rows, parts, use + 1) - row;
      const params: Record<string, number> = { rows: n, C };
      inputs.forEach((kind, i) => {
        const at = ins[i].at(kind === 'column' ? 0 : use);
        params[`x${i}`] = at;
        if (kind === 'column') {
          if (use === 0) ins[i].load(b, t, [load([t], span(`x${i}`, 0, C * 4), at)], 0);
        } else ins[i].load(b, t, [load([t], span(`x${i}`, row * width(kind), n * width(kind)), at)], use);
      });
      outs.forEach((ring, i) => {
        params[`y${i}`] = ring.at(use);
      });
      const reads = inputs.map((kind, i) => bytes(params[`x${i}`], kind === 'column' ? C * 4 : n * width(kind)));
      const writes = outs.map((_, i) => bytes(params[`y${i}`], n * C * 4));
      const instr: Vec = vec(fn, params, n * C, ops, reads, writes);
      inputs.forEach((kind, i) => {
        if (kind !== 'column') ins[i].take(instr, t, use);
        else if (use === 0) ins[i].take(instr, t, 0, false);
      });
      for (const ring of outs) ring.fill(instr, [t], use);
      b.emit(t, instr);
      outs.forEach((ring, i) => {
        b.emit(t, ring.take(store(t, block(`y${i}`, row * C * 4, n, C * 4, C * 4), ring.at(use)), t, use));
      });
    }
  }
  return b.finish();
}

export const chain: OutsideOp = { name: 'turnstone.chain', compile, functions };
registerOp(chain);

export type { Sram };
