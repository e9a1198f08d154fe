/** Every op of the backend contract as data, and its compiler: the same for a run with bytes and for one that is only timed. */
import type { DeviceSpec } from '../device/spec.ts';
import { ACT_BLOCK, type Program } from '../program/isa.ts';
import { type AttentionShape, chipHeads, compileAttention } from './attention.ts';
import { cut, DIV, type Options } from './common.ts';
import { compileEdit, compileTopk, type EditShape } from './logits.ts';
import { compileMatmul } from './matmul.ts';
import type { MatmulShape } from './matmul-plan.ts';
import { type OutsideShape, outsideOp } from './outside.ts';
import { compileRope, type RopeShape } from './rope.ts';
import {
  compileAddNorm,
  compileCopy,
  compileEmbed,
  compileGlu,
  compileNorm,
  type EmbedShape,
  type GluShape,
  type NormShape,
} from './rows.ts';

export type { Options } from './common.ts';
export { defaults } from './common.ts';

export type Op =
  | ({ kind: 'matmul' } & Omit<MatmulShape, 'from' | 'to'>)
  | ({ kind: 'attention' } & Omit<AttentionShape, 'chip' | 'chips'>)
  | ({ kind: 'norm' } & NormShape)
  | ({ kind: 'addNorm' } & Pick<NormShape, 'n' | 'D' | 'eps'>)
  | ({ kind: 'glu' } & GluShape)
  | ({ kind: 'embed' } & EmbedShape)
  | ({ kind: 'rope' } & RopeShape)
  | ({ kind: 'edit' } & EditShape)
  | { kind: 'topk'; R: number; V: number; K: number }
  | { kind: 'copy'; pairs: readonly number[]; page: number }
  | { kind: 'outside'; op: string; shape: OutsideShape };

/** Output columns, in elements, that chip c computes; all of them for an op that every chip repeats. */
export function share(op: Op, chip: number, chips: number): [from: number, to: number] {
  if (op.kind === 'attention') {
    const [a, b] = chipHeads(op.kv, op.heads, op.quant, chip, chips);
    const width = (op.heads / op.kv.kvHeads) * op.kv.headDim;
    return [a * width, b * width];
  }
  if (op.kind !== 'matmul') return [0, 0];
  const cols = op.swiglu ? op.N / 2 : op.N;
  const unit = 32;
  const units = DIV(cols, unit);
  const at = (c: number): number => Math.min(cols, cut(units, chips, c) * unit);
  return [at(chip), at(chip + 1)];
}

/** The program of one chip. Throws SramError when nothing fits, Error when the op makes no sense. */
export function compile(d: DeviceSpec, op: Op, o: Options, chip = 0, chips = 1): Program {
  switch (op.kind) {
    case 'matmul': {
      const [from, to] = share(op, chip, chips);
      return compileMatmul(d, { ...op, from, to }, o);
    }
    case 'attention':
      return compileAttention(d, { ...op, chip, chips }, o);
    case 'norm':
      return compileNorm(d, op, o);
    case 'addNorm':
      return compileAddNorm(d, op, o);
    case 'glu':
      return compileGlu(d, op, o);
    case 'embed':
      return compileEmbed(d, op, o);
    case 'rope':
      return compileRope(d, op, o);
    case 'edit':
      return compileEdit(d, op, o);
    case 'topk':
      return compileTopk(d, op, o);
    case 'copy':
      return compileCopy(d, op, o);
    case 'outside':
      return outsideOp(op.op).compile(d, op.shape, o);
  }
}

/** Output bytes a row and column, as they cross the links. */
function outBytes(op: Op): number {
  if (op.kind === 'attention') return op.quant ? ACT_BLOCK / 32 : 4;
  if (op.kind === 'matmul') return op.out === 'i8' ? ACT_BLOCK / 32 : op.out === 'bf16' ? 2 : 4;
  return 0;
}

/** Bytes of the whole output that the chips must exchange after this op: column parallel, then gather. */
export function gathered(op: Op, chips: number): number {
  if (chips < 2) return 0;
  if (op.kind === 'attention') return op.pos.length * op.heads * op.kv.headDim * outBytes(op);
  if (op.kind === 'matmul') return op.T * (op.swiglu ? op.N / 2 : op.N) * outBytes(op);
  return 0;
}
