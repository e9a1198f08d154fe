/** Whether a model runs here, and what it takes: what `inspect` ends with. */
import { parameters, type TensorShape } from '../engine/anatomy.ts';
import type { WeightFormat } from '../engine/backend.ts';
import type { ModelConfig } from '../engine/config.ts';
import { PLAIN } from '../engine/formats.ts';
import { PAGE } from '../engine/layout.ts';
import { describePlan, MemoryPlanError, type Plan } from '../engine/plan.ts';
import { ModelFileError } from '../models/error.ts';
import type { Generation } from '../models/generation.ts';
import { samplingText } from '../models/generation.ts';
import { chooseFormat, type ModelFiles } from '../models/model.ts';
import type { Manifest } from '../models/pack/manifest.ts';
import { keeps } from '../models/quantize/kept.ts';
import { compileTemplate } from '../models/template.ts';
import { createTokenizer, type Tokenizer } from '../models/tokenizer/tokenizer.ts';
import { CutsError } from '../policy/cuts.ts';
import { isolatesOf } from '../policy/stages.ts';
import { planWhole } from './cut.ts';
import { planStages } from './stages.ts';
import { count } from './table.ts';

/** Matrices whose numbers are stored alike. */
export interface FormatUse {
  /** As the file has them: `Q4_K`, `Q4_K+Q6_K` where rows differ. */
  stored: string;
  /** As kernels read them. */
  format: WeightFormat;
  tensors: number;
  /** Whether numbers change. */
  rounded: boolean;
}

export interface Verdict {
  runs: boolean;
  /** Why it does not run. */
  why?: string;
  family?: string;
  parameters?: number;
  formats?: FormatUse[];
  tokens?: number;
  /** `own`, `none` (then /v1/completions only), or why the file's does not compile. */
  chatTemplate?: string;
  /** What is drawn with where a request does not say. */
  sampling?: Omit<Generation, 'stopIds'>;
  /** What one isolate may hold. */
  memoryMb: number;
  /** Of one isolate, where it fits one: bytes by their kind, longest sequence in tokens. */
  isolate?: Pick<Plan, 'context' | 'pages' | 'bytes'>;
  /** Isolates of `memoryMb` that hold it, with their longest sequence; why none do. */
  isolates?: { count: number; context: number } | { why: string };
  /** MEMORY_MB for one process that holds it whole, with a context of that many tokens. */
  whole?: { memoryMb: number; context: number };
}

/** What of a model decides it. */
interface Facts {
  config: ModelConfig;
  formatOf: (t: TensorShape) => WeightFormat;
  formats: FormatUse[];
  tokenizer: () => Tokenizer;
  chatTemplate?: string;
  generation: Generation;
}

const factsOfFiles = (model: ModelFiles): Facts => {
  const formats = new Map(model.tensors.map((t) => [t.name, chooseFormat(model, t, {})]));
  const uses = new Map<string, FormatUse>();
  for (const t of model.tensors) {
    if (t.vector) continue;
    const stored = [...new Set(t.parts.map((p) => p.type))].join('+');
    const format = formats.get(t.name) ?? PLAIN;
    const rounded = format !== PLAIN && t.parts.some((p) => !keeps(format, p.type));
    const use = uses.get(`${stored} ${format}`) ?? { stored, format, tensors: 0, rounded };
    use.tensors++;
    uses.set(`${stored} ${format}`, use);
  }
  return {
    ...{ config: model.config, formats: [...uses.values()], generation: model.generation, chatTemplate: model.chatTemplate },
    formatOf: (t) => formats.get(t.name) ?? PLAIN,
    tokenizer: () => createTokenizer(model.tokenizer),
  };
};

/** The verdict over a GGUF file or a Hugging Face folder; `open` reads it, and its refusal is the verdict. */
export async function verdictOf(open: () => Promise<ModelFiles>, memoryMb: number): Promise<Verdict> {
  try {
    return judge(factsOfFiles(await open()), memoryMb);
  } catch (e) {
    if (!(e instanceof ModelFileError)) throw e;
    return { runs: false, why: e.message, memoryMb };
  }
}

/** The verdict over a pack. */
export function verdictOfPack(manifest: Manifest, tokenizer: Tokenizer, memoryMb: number): Verdict {
  const formats = new Map(manifest.tensors.map((t) => [t.name, t.format]));
  const uses = new Map<WeightFormat, number>();
  for (const t of manifest.tensors) if (t.shape.length === 2) uses.set(t.format, (uses.get(t.format) ?? 0) + 1);
  const { config, chatTemplate, generation } = manifest;
  return judge(
    {
      ...{ config, chatTemplate, generation, tokenizer: () => tokenizer, formatOf: (t) => formats.get(t.name) ?? PLAIN },
      formats: [...uses].map(([format, tensors]) => ({ stored: format, format, tensors, rounded: false })),
    },
    memoryMb,
  );
}

/** Tokens of context that a process that holds the model whole is told memory for. */
const USEFUL_CONTEXT = 2048;

function judge(m: Facts, memoryMb: number): Verdict {
  const { config } = m;
  const tokenizer = m.tokenizer();
  const { stopIds: _, ...sampling } = m.generation;
  const fits = attempt(MemoryPlanError, () => planWhole(config, m.formatOf, { memoryMb, kv: 'i8' }));
  const inOne = fits instanceof MemoryPlanError ? undefined : fits;
  const context = Math.min(config.context, USEFUL_CONTEXT);
  return {
    ...{ runs: true, family: config.family, parameters: parameters(config), formats: m.formats, tokens: tokenizer.vocab },
    ...{ chatTemplate: templateOf(m.chatTemplate), sampling, memoryMb },
    ...(inOne
      ? { isolate: { context: inOne.context, pages: inOne.pages, bytes: inOne.bytes }, isolates: { count: 1, context: inOne.context } }
      : { isolates: severalOf(m, memoryMb), whole: { memoryMb: wholeMb(m, context), context } }),
  };
}

/** MEMORY_MB, a multiple of 16, that holds one context. */
function wholeMb({ config, formatOf }: Facts, context: number): number {
  const unbound = { memoryMb: 2 ** 20, kv: 'i8' as const, context, pages: Math.ceil(context / PAGE) };
  const { js, weights, scratch, kv } = planWhole(config, formatOf, unbound).bytes;
  return Math.ceil((js + weights + scratch + kv) / (16 << 20)) * 16;
}

function severalOf({ config, formatOf }: Facts, memoryMb: number): Verdict['isolates'] {
  const plan = attempt(CutsError, () => planStages(config, formatOf, { memoryMb, kv: 'i8' }));
  return plan instanceof CutsError ? { why: plan.message } : { count: isolatesOf(plan), context: plan.context };
}

/** What `make` gives, or its error of that class. */
function attempt<T, E extends Error>(kind: abstract new (...args: never[]) => E, make: () => T): T | E {
  try {
    return make();
  } catch (e) {
    if (e instanceof kind) return e;
    throw e;
  }
}

function templateOf(source: string | undefined): string {
  if (source === undefined) return 'none';
  try {
    compileTemplate(source);
    return 'own';
  } catch (e) {
    return e instanceof Error ? e.message : String(e);
  }
}

/** The verdict in lines for people. */
export function verdictLines(v: Verdict): string[] {
  if (!v.runs) return [`verdict: does not run. ${v.why}`];
  const mb = `${v.memoryMb} MB`;
  const one = v.isolate && `in one isolate of ${mb}, with a context of ${count(v.isolate.context)} tokens`;
  const several =
    v.isolates &&
    ('why' in v.isolates
      ? `but in no isolates of ${mb}: ${v.isolates.why}`
      : `in ${v.isolates.count} isolates of ${mb}, with a context of ${count(v.isolates.context)} tokens; one is too small for it`);
  const matrices = (rounded: boolean, text: (f: FormatUse) => string) =>
    (v.formats ?? [])
      .filter((f) => f.rounded === rounded)
      .map((f) => `${text(f)} (${f.tensors === 1 ? '1 matrix' : `${f.tensors} matrices`})`);
  const [kept, rounded] = [matrices(false, (f) => f.stored), matrices(true, (f) => `${f.stored} → ${f.format}`)];
  const said = v.sampling && samplingText(v.sampling);
  return [
    `verdict: runs, ${one ?? several}`,
    ...(v.isolate ? [`  memory     ${describePlan(v.isolate)}`] : []),
    ...(v.whole ? [`  whole      MEMORY_MB=${v.whole.memoryMb} on a machine of your own, for ${count(v.whole.context)} tokens`] : []),
    ...(kept.length > 0 ? [`  kept       ${kept.join(', ')}`] : []),
    ...(rounded.length > 0 ? [`  rounded    ${rounded.join(', ')}; the start says what it costs`] : []),
    `  chat       ${chatLine(v.chatTemplate)}`,
    `  sampling   ${said === undefined ? "OpenAI's defaults" : said}`,
  ];
}

const chatLine = (t: string | undefined): string =>
  t === 'own'
    ? "the model's own template"
    : t === 'none'
      ? 'no template: /v1/completions only; turnstone pack --chat-template gives it one'
      : `its template is refused: ${t}`;
