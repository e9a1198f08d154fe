/**
 * Counters, gauges and histograms in Prometheus' text format 0.0.4. Own code because the common client library wants Node's timers
 * and process. Names follow vLLM's where the meaning is the same, with `turnstone_` for `vllm:`.
 */

type Labels = Readonly<Record<string, string>>;

export const CONTENT_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

const escapeHelp = (s: string): string => s.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
const escapeLabel = (s: string): string => escapeHelp(s).replaceAll('"', '\\"');

function labelText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([k, v]) => `${k}="${escapeLabel(v)}"`);
  return pairs.length ? `{${pairs.join(',')}}` : '';
}

const numberText = (v: number): string => (v === Infinity ? '+Inf' : v === -Infinity ? '-Inf' : String(v));

/** One time series a set of labels; `fixed` are on all of them. */
abstract class Metric {
  readonly name: string;
  readonly #help: string;
  readonly #type: string;
  protected readonly fixed: Labels;

  constructor(name: string, help: string, type: string, fixed: Labels) {
    if (!/^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(name)) throw new Error(`metric name ${JSON.stringify(name)} is not one Prometheus allows`);
    this.name = name;
    this.#help = help;
    this.#type = type;
    this.fixed = fixed;
  }

  render(): string {
    return `# HELP ${this.name} ${escapeHelp(this.#help)}\n# TYPE ${this.name} ${this.#type}\n${this.samples()}`;
  }

  protected abstract samples(): string;
}

class Values extends Metric {
  readonly #values = new Map<string, number>();

  protected put(labels: Labels, change: (old: number) => number): void {
    const key = labelText({ ...this.fixed, ...labels });
    this.#values.set(key, change(this.#values.get(key) ?? 0));
  }

  protected samples(): string {
    let text = '';
    for (const [key, v] of this.#values) text += `${this.name}${key} ${numberText(v)}\n`;
    return text;
  }
}

/** Only rises; its name ends in `_total`. */
export class Counter extends Values {
  add(amount = 1, labels: Labels = {}): void {
    if (!(amount >= 0)) throw new Error(`counter ${this.name}: ${amount} would lower it`);
    this.put(labels, (old) => old + amount);
  }

  /** Takes over a total that is counted elsewhere. */
  total(value: number): void {
    this.put({}, (old) => Math.max(old, value));
  }
}

export class Gauge extends Values {
  set(value: number, labels: Labels = {}): void {
    this.put(labels, () => value);
  }
}

/** Without labels of its own: `observe` is called for every token. */
export class Histogram extends Metric {
  readonly #bounds: readonly number[];
  readonly #counts: Float64Array;
  #sum = 0;

  /** `bounds` ascending; +Inf is added. */
  constructor(name: string, help: string, fixed: Labels, bounds: readonly number[]) {
    super(name, help, 'histogram', fixed);
    if (bounds.some((b, i) => i > 0 && !(b > bounds[i - 1]))) throw new Error(`histogram ${name}: its bounds must ascend`);
    this.#bounds = bounds;
    this.#counts = new Float64Array(bounds.length + 1);
  }

  observe(value: number): void {
    let i = 0;
    while (i < this.#bounds.length && value > this.#bounds[i]) i++;
    this.#counts[i]++;
    this.#sum += value;
  }

  protected samples(): string {
    let text = '';
    let total = 0;
    for (let i = 0; i <= this.#bounds.length; i++) {
      total += this.#counts[i];
      text += `${this.name}_bucket${labelText({ ...this.fixed, le: numberText(this.#bounds[i] ?? Infinity) })} ${total}\n`;
    }
    const key = labelText(this.fixed);
    return `${text}${this.name}_sum${key} ${numberText(this.#sum)}\n${this.name}_count${key} ${total}\n`;
  }
}

/** The metrics of one server, each under its name once; one that is asked for again goes on as it is. */
export class Registry {
  readonly #metrics = new Map<string, Metric>();
  readonly #fixed: Labels;

  /** `fixed`: labels of every metric, e.g. `{ model_name: 'pebble' }`. */
  constructor(fixed: Labels = {}) {
    this.#fixed = fixed;
  }

  counter(name: string, help: string): Counter {
    return this.#add(new Counter(name, help, 'counter', this.#fixed));
  }

  gauge(name: string, help: string): Gauge {
    return this.#add(new Gauge(name, help, 'gauge', this.#fixed));
  }

  histogram(name: string, help: string, bounds: readonly number[]): Histogram {
    return this.#add(new Histogram(name, help, this.#fixed, bounds));
  }

  render(): string {
    return [...this.#metrics.values()].map((m) => m.render()).join('');
  }

  #add<M extends Metric>(metric: M): M {
    const known = this.#metrics.get(metric.name);
    if (known && known.constructor !== metric.constructor) throw new Error(`metric ${metric.name} is registered as another kind`);
    if (!known) this.#metrics.set(metric.name, metric);
    return (known as M | undefined) ?? metric;
  }
}

/** Pages of several servers as one: every sample gets the label, and a metric's help and type are said once. */
export function withLabel(label: string, pages: readonly { value: string; text: string }[]): string {
  const heads = new Map<string, string>(); // by metric, in the order of the first page
  const samples = new Map<string, string>();
  for (const { value, text } of pages) {
    const mark = `${label}="${escapeLabel(value)}"`;
    let metric = '';
    for (const line of text.split('\n')) {
      if (line === '') continue;
      if (line.startsWith('# HELP ')) {
        metric = line.split(' ', 3)[2];
        if (!heads.has(metric)) heads.set(metric, '');
      }
      if (line.startsWith('#')) {
        const head = heads.get(metric) ?? '';
        if (!head.includes(`${line}\n`)) heads.set(metric, `${head}${line}\n`);
        continue;
      }
      const [, name, rest] = /^([a-zA-Z0-9_:]+)(.*)$/.exec(line) ?? ['', '', ''];
      const labelled = rest.startsWith('{') ? `${name}{${mark},${rest.slice(1)}` : `${name}{${mark}}${rest}`;
      samples.set(metric, `${samples.get(metric) ?? ''}${labelled}\n`);
    }
  }
  return [...heads].map(([metric, head]) => head + (samples.get(metric) ?? '')).join('');
}

/** What every replica reports. Counters start at 0, so that rates are known from the first scrape. */
export interface ServingMetrics {
  registry: Registry;
  running: Gauge;
  waiting: Gauge;
  /** 0..1, of all pages. */
  kvUsage: Gauge;
  promptTokens: Counter;
  generationTokens: Counter;
  /** In tokens, as vLLM counts them. */
  prefixQueries: Counter;
  prefixHits: Counter;
  preemptions: Counter;
  /** Label `finished_reason`. */
  finished: Counter;
  ttft: Histogram;
  interToken: Histogram;
  e2e: Histogram;
}

const TTFT = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80];
const INTER_TOKEN = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 10];
const E2E = [0.1, 0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 60, 120, 240, 480];

export function servingMetrics(model: string): ServingMetrics {
  const r = new Registry({ model_name: model });
  const metrics: ServingMetrics = {
    registry: r,
    running: r.gauge('turnstone_num_requests_running', 'Sequences in the engine that are being computed.'),
    waiting: r.gauge('turnstone_num_requests_waiting', 'Sequences waiting for pages or a place in the batch.'),
    kvUsage: r.gauge('turnstone_kv_cache_usage_perc', 'Share of KV pages in use, 1 is all of them.'),
    promptTokens: r.counter('turnstone_prompt_tokens_total', 'Prompt tokens processed, those found in the prefix cache included.'),
    generationTokens: r.counter('turnstone_generation_tokens_total', 'Tokens generated.'),
    prefixQueries: r.counter('turnstone_prefix_cache_queries_total', 'Prompt tokens looked up in the prefix cache.'),
    prefixHits: r.counter('turnstone_prefix_cache_hits_total', 'Prompt tokens found in the prefix cache.'),
    preemptions: r.counter('turnstone_num_preemptions_total', 'Sequences put back to be recomputed because pages ran out.'),
    finished: r.counter('turnstone_request_success_total', 'Sequences finished, by reason.'),
    ttft: r.histogram('turnstone_time_to_first_token_seconds', 'From arrival to the first token.', TTFT),
    interToken: r.histogram('turnstone_inter_token_latency_seconds', 'Between two tokens of a sequence.', INTER_TOKEN),
    e2e: r.histogram('turnstone_e2e_request_latency_seconds', 'From arrival to the last token.', E2E),
  };
  for (const g of [metrics.running, metrics.waiting, metrics.kvUsage]) g.set(0);
  for (const c of [metrics.promptTokens, metrics.generationTokens, metrics.prefixQueries, metrics.prefixHits, metrics.preemptions])
    c.add(0);
  for (const reason of ['stop', 'length', 'abort']) metrics.finished.add(0, { finished_reason: reason });
  return metrics;
}
