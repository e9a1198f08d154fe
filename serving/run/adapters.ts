/** Adapters of a replica's engine by their names: found in the index beside the pack, loaded when they are asked for, the least recently used one dropped for room. */
import { type Adapters, adapterBytes, type Engine } from '../../engine/index.ts';
import { ADAPTER_HEADER, type AdapterEntry, adapterFile, readAdapter, readIndex } from '../../models/pack/adapter.ts';
import { type PackSource, readWhole } from '../../models/pack/source.ts';
import { modelNotFound, serverOverloaded } from '../../openai/errors.ts';
import { type Counter, Registry } from '../../openai/prometheus.ts';

/** How long the index is believed, ms: an adapter that was taken out of it is refused after that. A name that is not in it is looked up anew. */
const FRESH_MS = 2_000;

/** An adapter that a request uses: it stays until `release`. */
export interface Held {
  id: string;
  release(): void;
}

type WithAdapters = Pick<Engine, 'adapters' | 'keepAdapter' | 'dropAdapter' | 'config'>;

export class AdapterShelf {
  readonly #engine: WithAdapters;
  readonly #source: PackSource;
  readonly #model: string;
  /** How many requests use each, the least recently used first. */
  readonly #uses = new Map<string, number>();
  #index: AdapterEntry[] = [];
  #read = Number.NEGATIVE_INFINITY;
  /** One load at a time. */
  #turn: Promise<unknown> = Promise.resolve();
  readonly #loads: Counter;
  readonly #drops: Counter;

  /** `model`: the base's name. */
  constructor(model: string, engine: WithAdapters, source: PackSource, registry = new Registry({})) {
    this.#model = model;
    this.#engine = engine;
    this.#source = source;
    this.#loads = registry.counter('turnstone_adapter_loads_total', 'Adapters loaded.');
    this.#drops = registry.counter(
      'turnstone_adapter_drops_total',
      'Adapters dropped: for room, or because they were taken out of the index.',
    );
    for (const id of engine.adapters?.ids ?? []) this.#uses.set(id, 0); // of an object that was evicted
  }

  /** All there are, and whether each is loaded. */
  async list(): Promise<(AdapterEntry & { loaded: boolean })[]> {
    return (await this.#entries()).map((e) => ({ ...e, loaded: this.#engine.adapters?.get(e.id) !== undefined }));
  }

  /** The id of the adapter of that name, loaded or not. Throws 404 with what there is. */
  async idOf(name: string): Promise<string> {
    return (await this.#entry(name)).id;
  }

  async #entry(name: string): Promise<AdapterEntry> {
    const entry = await this.#find(name);
    if (!entry) throw modelNotFound(`${this.#model}:${name}`, [this.#model, ...this.#index.map((e) => `${this.#model}:${e.name}`)]);
    return entry;
  }

  /** The adapter of that name, loaded. Throws 404 when there is none, and 503 with the arithmetic when it has no room. */
  async hold(name: string): Promise<Held> {
    const entry = await this.#entry(name);
    const { id } = entry;
    const mine = this.#turn.then(async () => {
      await this.#load(entry);
      this.#use(id, 1);
    });
    this.#turn = mine.catch(() => {});
    await mine;
    let over = false;
    return {
      id,
      release: () => {
        if (!over) this.#use(id, -1);
        over = true;
      },
    };
  }

  async #load(entry: AdapterEntry): Promise<void> {
    const { id, bytes } = entry;
    const engine = this.#engine;
    const { adapters } = engine;
    if (!adapters) throw serverOverloaded(`No adapter can be loaded here: this replica has no memory for any (ADAPTERS_MB).`);
    if (engine.keepAdapter(id)) return;
    if (bytes > adapters.memory.total + ADAPTER_HEADER) throw noRoom(adapters, bytes);
    const file = readAdapter(engine.config, id, await this.#file(entry));
    const size = adapterBytes(file.pieces);
    for (const [old, uses] of this.#uses) {
      if (adapters.fits(size)) break;
      if (uses === 0 && adapters.get(old)) this.#drop(old);
    }
    if (!adapters.fits(size)) throw noRoom(adapters, size);
    await adapters.load(id, file.pieces, file.read);
    this.#loads.add(1, { adapter: entry.name });
  }

  /** Its file, which is gone when the adapter was taken out of the index just now. */
  async #file({ id, name, bytes }: AdapterEntry): Promise<Uint8Array> {
    try {
      return await readWhole(this.#source, adapterFile(id), bytes);
    } catch (error) {
      if ((await this.#entries(0)).some((e) => e.id === id)) throw error;
      throw modelNotFound(`${this.#model}:${name}`, this.#model);
    }
  }

  #use(id: string, more: number): void {
    const uses = (this.#uses.get(id) ?? 0) + more;
    this.#uses.delete(id);
    this.#uses.set(id, uses);
  }

  #drop(id: string): void {
    this.#uses.delete(id);
    this.#engine.dropAdapter(id);
    this.#drops.add(1);
  }

  async #find(name: string): Promise<AdapterEntry | undefined> {
    const known = (await this.#entries()).find((e) => e.name === name);
    return known ?? (await this.#entries(0)).find((e) => e.name === name);
  }

  /** The index, read again when it is older than that; what is no more in it goes as soon as nobody uses it. */
  async #entries(fresh = FRESH_MS): Promise<AdapterEntry[]> {
    const now = Date.now();
    if (now - this.#read <= fresh) return this.#index;
    this.#index = await readIndex(this.#source);
    this.#read = now;
    for (const [id, uses] of [...this.#uses]) {
      if (uses === 0 && !this.#index.some((e) => e.id === id)) this.#drop(id);
    }
    return this.#index;
  }
}

const noRoom = ({ memory: { total, used } }: Adapters, bytes: number) =>
  serverOverloaded(
    `The adapter needs ${kib(bytes)} KiB, and of ${kib(total)} KiB for adapters ${kib(used)} are taken by such that compute now; ADAPTERS_MB sets how much there is.`,
  );
const kib = (n: number) => Math.ceil(n / 1024);
