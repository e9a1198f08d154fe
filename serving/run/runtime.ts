/** A model that is loaded, and what runs on it. */
import type { Backend, Engine, ModelConfig, ModelWeights, Passes, Plan } from '../../engine/index.ts';
import type { PackSource } from '../../models/pack/source.ts';
import type { ChatTemplate } from '../../models/template.ts';
import type { Tokenizer } from '../../models/tokenizer/tokenizer.ts';
import type { ServingMetrics } from '../../openai/prometheus.ts';
import type { SamplingDefaults } from '../../openai/requests/sampling.ts';
import type { Answered, Cost } from '../../policy/cost.ts';
import type { Hops } from '../trace/hops.ts';
import type { Trace } from '../trace/trace.ts';
import type { AdapterShelf } from './adapters.ts';
import type { EngineLoop } from './loop.ts';
import type { NpuAdapter } from './npu.ts';
import type { Reporter } from './report.ts';
import type { SessionFetcher } from './session-pages.ts';

/** What of a replica outlives its object, which is evicted when it is idle: the engine with its pages, and what was counted. */
export interface Kept {
  engine: Engine;
  metrics: ServingMetrics;
  /** What runs it now. */
  loop?: EngineLoop;
}

/** A model that is loaded in this isolate: what all its replicas share. */
export interface Served {
  id: string;
  /** The pack's. */
  digest: string;
  /** Names weights and numerics in answers. */
  fingerprint: string;
  config: ModelConfig;
  tokenizer: Tokenizer;
  template?: ChatTemplate;
  stopIds: readonly number[];
  /** Texts of control tokens. */
  control: readonly string[];
  sampling: SamplingDefaults;
  backend: Backend;
  /** Of the whole model, or its stages as one. */
  weights: ModelWeights | Passes;
  plan: Plan;
  /** Calls of its stages, when it is in stages. */
  hops?: Hops;
  /** Where its pack is, and its adapters are looked for. */
  source: PackSource;
  /** By the id of the replica's object. */
  engines: Map<string, Kept>;
}

/** One engine, as requests meet it. */
export interface Runtime {
  served: Served;
  engine: Engine;
  loop: EngineLoop;
  metrics: ServingMetrics;
  /** Absent where none can be loaded. */
  adapters?: AdapterShelf;
  /** Absent where no accelerator is bound. */
  npu?: NpuAdapter;
  /** Absent where nothing schedules. */
  reporter?: Reporter;
  /** Where generations that are traced are told of; absent where nobody traces. */
  trace?: { open(given: string | null): Trace | undefined; later(work: Promise<unknown>): void };
  /** Calls of the model's stages; absent of a model in one piece. */
  hops?: Hops;
  /** Counts what an answer cost, once, and says it. Absent where nothing is billed by the second. */
  bill?: (answered: Omit<Answered, 'isolates'>) => Cost;
  /** The session that keeps a tenant's pages under a `prompt_cache_key`. Absent where there are no sessions. */
  keyed?: (tenant: string, key: string) => SessionFetcher;
}
