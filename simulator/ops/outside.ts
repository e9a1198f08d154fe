/**
 * Ops that are not in this tree: whoever brings one registers how it becomes a tile program and what its vector functions compute. The
 * timeline, the race check and the run on bytes then treat it as any other (docs/pytorch.md has one, worked out).
 */
import type { DeviceSpec } from '../device/spec.ts';
import type { Program } from '../program/isa.ts';
import type { Sram } from '../run/memory.ts';
import type { Options } from './common.ts';

/** Any JSON; lists of 8 or more numbers count as the same when they are the same object. */
export type OutsideShape = Readonly<Record<string, unknown>>;

export interface OutsideOp {
  /** `package.op`, so that two packages do not meet. */
  readonly name: string;
  /** The program of one chip. Throws SramError when nothing fits. */
  compile(d: DeviceSpec, shape: OutsideShape, o: Options): Program;
  /** What its `vec` instructions compute on a tile's SRAM, by the names they carry: those must begin with the op's name and a colon. */
  readonly functions: Readonly<Record<string, VectorFunction>>;
}

export type VectorFunction = (s: Sram, p: Readonly<Record<string, number>>) => void;

const ops = new Map<string, OutsideOp>();

/** Throws when the name is taken by another op, or a function's name could meet one of another's. */
export function registerOp(op: OutsideOp): void {
  if (!/^[\w-]+\.[\w.-]+$/.test(op.name)) throw new Error(`op ${JSON.stringify(op.name)}: a name is package.op`);
  const foreign = Object.keys(op.functions).find((f) => !f.startsWith(`${op.name}:`));
  if (foreign !== undefined) throw new Error(`op ${op.name}: its function ${foreign} must be called ${op.name}:…`);
  const known = ops.get(op.name);
  if (known && known !== op) throw new Error(`op ${op.name} is registered already`);
  ops.set(op.name, op);
}

export function outsideOp(name: string): OutsideOp {
  const op = ops.get(name);
  if (!op) throw new Error(`no op ${JSON.stringify(name)} is registered, have ${[...ops.keys()].join(', ') || 'none'}`);
  return op;
}

/** A vector function of a registered op, by its whole name. */
export function outsideFunction(name: string): VectorFunction | undefined {
  return ops.get(name.slice(0, Math.max(0, name.indexOf(':'))))?.functions[name];
}
