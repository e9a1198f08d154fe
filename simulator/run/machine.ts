import { type DeviceSpec, tilesOf } from '../device/spec.ts';
import { compile, defaults, gathered, type Op, type Options, share } from '../ops/index.ts';
import type { Program } from '../program/isa.ts';
import { effects, execute } from './execute.ts';
import type { TileModules } from './kernels.ts';
import { allGatherUs, reduceScatterUs } from './links.ts';
import { type Bindings, Tiles } from './memory.ts';
import { checkRaces } from './races.ts';
import { type Ran, schedule, type Timeline } from './schedule.ts';

/** What an op was made into for one chip. */
export interface Compiled {
  readonly program: Program;
  readonly timeline: Timeline;
  effects?: readonly Ran[];
}

/** An op as it ran on all chips: the slowest chip's cycles, the launch, the exchange. */
export interface Launch {
  readonly name: string;
  /** Of the op; for one from outside, its name. */
  readonly kind: string;
  readonly us: number;
  readonly computeUs: number;
  readonly linkUs: number;
  readonly flops: number;
  readonly linkBytes: number;
  readonly chip: Compiled; // the slowest
}

export interface MachineOptions extends Partial<Options> {
  readonly chips?: number;
  /**
   * How sums over several chips meet. `all-gather`: column parallel, every output is gathered (exact). `reduce-scatter`:
   * o and down row parallel, their partial sums reduced and scattered, then gathered; timed only.
   */
  readonly collective?: 'all-gather' | 'reduce-scatter';
  /** Keep what each instruction did (default true); without, large models are timed in a fraction of the memory, and `run` refuses. */
  readonly timelines?: boolean;
  /** Checks every new program for races (default true). */
  readonly checkRaces?: boolean;
  /** The tiles' functions in WebAssembly (default: JavaScript, slower). */
  readonly modules?: TileModules;
}

/** Instructions that compiled programs may hold together before the least recently used are dropped. */
const CACHE_INSTRUCTIONS = 400_000;

/** One or more chips: compiles ops, keeps what it compiled, times them, runs them. Launches follow one another. */
export class Machine {
  readonly device: DeviceSpec;
  readonly chips: number;
  readonly options: Options;
  private readonly rowParallel: boolean;
  private readonly races: boolean;
  private readonly timelines: boolean;
  private readonly cache = new Map<string, Compiled>();
  private cached = 0;
  private tiles?: Tiles;
  private readonly modules?: TileModules;

  constructor(device: DeviceSpec, o: MachineOptions = {}) {
    this.device = device;
    this.chips = o.chips ?? 1;
    if (!Number.isInteger(this.chips) || this.chips < 1 || this.chips > device.links.maxChips) {
      throw new Error(`${device.name} links 1 to ${device.links.maxChips} chips, not ${this.chips}`);
    }
    this.options = {
      doubleBuffer: o.doubleBuffer ?? defaults.doubleBuffer,
      multicast: o.multicast ?? defaults.multicast,
      fuseNorm: o.fuseNorm ?? defaults.fuseNorm,
      fuseSwiglu: o.fuseSwiglu ?? defaults.fuseSwiglu,
    };
    this.rowParallel = o.collective === 'reduce-scatter' && this.chips > 1;
    this.timelines = o.timelines ?? true;
    this.races = o.checkRaces ?? true;
    this.modules = o.modules;
  }

  /** The op's program for a chip and its timeline; from the cache when the same was asked before. */
  compiled(op: Op, chip: number): Compiled {
    const [from, to] = share(op, chip, this.chips);
    const key = `${from}:${to}:${keyOf(op)}`;
    const hit = this.cache.get(key);
    if (hit) {
      this.cache.delete(key);
      this.cache.set(key, hit);
      return hit;
    }
    const program = compile(this.device, op, this.options, chip, this.chips);
    const made = this.scheduled(program);
    this.cache.set(key, made);
    this.cached += made.timeline.order.length;
    for (const [old, c] of this.cache) {
      if (this.cached <= CACHE_INSTRUCTIONS || old === key) break;
      this.cache.delete(old);
      this.cached -= c.timeline.order.length;
    }
    return made;
  }

  private scheduled(program: Program): Compiled {
    const timeline = schedule(this.device, program);
    return this.timelines ? { program, timeline } : { program: { ...program, tiles: [] }, timeline: { ...timeline, order: [] } };
  }

  /** Times an op without bytes. Only the chips with different shares are compiled. */
  time(op: Op): Launch {
    if (this.rowParallel && op.kind === 'matmul' && op.accumulate) return this.timeRowParallel(op);
    const widths = new Map<number, number>();
    for (let c = 0; c < this.chips; c++) {
      const [from, to] = share(op, c, this.chips);
      if (!widths.has(to - from)) widths.set(to - from, c);
    }
    return this.launch(
      op,
      [...widths.values()].map((c) => this.compiled(op, c)),
    );
  }

  /** Runs an op on the bytes its arguments are bound to on each chip. The caller exchanges what was gathered. */
  run(op: Op, bind: (chip: number) => Bindings): Launch {
    if (!this.timelines) throw new Error('this machine keeps no timelines: it can only time');
    const all: Compiled[] = [];
    // chips run one after the other and keep nothing in SRAM from op to op, so one set of tiles serves them all
    this.tiles ??= new Tiles(tilesOf(this.device), this.device.tile.sramKiB * 1024, this.modules);
    const { tiles } = this;
    for (let c = 0; c < this.chips; c++) {
      const made = this.compiled(op, c);
      if (!made.effects) {
        if (this.races) checkRaces(made.program, made.timeline);
        made.effects = effects(made.timeline);
      }
      execute(made.program, made.effects, tiles, bind(c));
      all.push(made);
    }
    return this.launch(op, all);
  }

  /** Each chip multiplies its part of K over all columns; partial sums are reduced and scattered, and gathered again. */
  private timeRowParallel(op: Extract<Op, { kind: 'matmul' }>): Launch {
    const K = Math.ceil(op.K / this.chips / 32) * 32;
    const key = `rows:${keyOf(op)}`;
    let made = this.cache.get(key);
    if (!made) {
      const program = compile(this.device, { ...op, K }, this.options);
      made = this.scheduled(program);
      this.cache.set(key, made);
    }
    const bytes = op.T * op.N * 4;
    const linkUs = reduceScatterUs(this.device, this.chips, bytes) + allGatherUs(this.device, this.chips, bytes);
    const computeUs = this.us(made.timeline.cycles) + this.device.launch.opUs;
    const { name } = made.program;
    return {
      name,
      kind: op.kind,
      us: computeUs + linkUs,
      computeUs,
      linkUs,
      flops: 2 * op.T * op.N * op.K,
      linkBytes: 2 * bytes,
      chip: made,
    };
  }

  private launch(op: Op, all: Compiled[]): Launch {
    const chip = all.reduce((a, b) => (b.timeline.cycles > a.timeline.cycles ? b : a));
    const computeUs = this.us(chip.timeline.cycles) + this.device.launch.opUs;
    // row parallel consumers take their part of K from where it was made
    const linkBytes = this.rowParallel ? 0 : gathered(op, this.chips);
    const linkUs = linkBytes > 0 ? allGatherUs(this.device, this.chips, linkBytes) : 0;
    const flops = op.kind === 'matmul' ? 2 * op.T * op.N * op.K : chip.program.flops;
    const kind = op.kind === 'outside' ? op.op : op.kind;
    return { name: chip.program.name, kind, us: computeUs + linkUs, computeUs, linkUs, flops, linkBytes, chip };
  }

  us(cycles: number): number {
    return cycles / this.device.clockGHz / 1000;
  }
}

const listKeys = new WeakMap<object, string>();
let lists = 0;

/** A key of an op's shape. Long lists are named by identity, so that layers of one batch share what was compiled. */
function keyOf(op: Op): string {
  return JSON.stringify(op, (_, v: unknown) => {
    if (!Array.isArray(v) || v.length < 8) return v;
    let key = listKeys.get(v);
    if (!key) listKeys.set(v, (key = `list ${lists++}`));
    return key;
  });
}
