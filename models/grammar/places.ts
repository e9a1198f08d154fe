import { type Dict, down, isDict } from './flat.ts';
import { GrammarError, LIMITS } from './limits.ts';

/** Keywords whose value is a subschema, a list of them, or an object of them. */
const ONE = ['additionalProperties', 'propertyNames', 'items', 'additionalItems', 'contains', 'not', 'if', 'then', 'else'];
const LISTS = ['allOf', 'anyOf', 'oneOf', 'prefixItems', 'items'];
const MAPS = ['properties', 'patternProperties', '$defs', 'definitions', 'dependentSchemas', 'dependencies'];
const REST = ['unevaluatedProperties', 'unevaluatedItems'];

interface Place {
  schema: unknown;
  at: string;
}

/** Where a document's references lead: JSON pointers (RFC 6901), `$anchor`s, and resources with an `$id` of their own (RFC 3986). */
export class Places {
  readonly #root: Place;
  /** By absolute URI: a resource, or with `#name` an anchor in one. */
  readonly #named = new Map<string, Place>();
  /** Pointer of each resource and its URI, the inner ones last. */
  readonly #bases: { at: string; uri: string }[] = [];
  readonly #dynamic = new Map<string, number>();

  constructor(root: unknown, base: string) {
    this.#root = { schema: root, at: base };
    this.#walk(root, base, 'schema:/document', 0);
  }

  /** What a reference in the subschema at `from` means. Throws GrammarError when it leads nowhere in the document. */
  find(ref: string, from: string): Place {
    const missing = (why: string) => new GrammarError(from, '$ref', `"${ref.slice(0, 80)}" ${why}`);
    const base = this.#bases.findLast((b) => from === b.at || from.startsWith(`${b.at}/`) || from.startsWith(`${b.at}~#`));
    const uri = resolve(ref, base?.uri ?? '');
    if (uri === undefined) throw missing('is no reference');
    const hash = uri.indexOf('#');
    const fragment = hash < 0 ? '' : decoded(uri.slice(hash + 1));
    const resource = this.#named.get(hash < 0 ? uri : uri.slice(0, hash));
    if (!resource) throw missing('leads to another document; only references within this one, such as "#/$defs/name"');
    if (fragment === '') return resource;
    if (!fragment.startsWith('/')) {
      const anchor = this.#named.get(`${uri.slice(0, hash)}#${fragment}`);
      if (!anchor) throw missing('does not exist');
      return anchor;
    }
    let here: unknown = resource.schema;
    for (const part of fragment.slice(1).split('/')) {
      const key = part.replaceAll('~1', '/').replaceAll('~0', '~');
      if (typeof here !== 'object' || here === null || !Object.hasOwn(here, key)) throw missing('does not exist');
      here = (here as Dict)[key];
    }
    return { schema: here, at: resource.at + fragment };
  }

  /** A reference that means the same as `$dynamicRef`'s, when the document has that dynamic anchor once and is one resource. */
  onlyDynamic(ref: unknown): string | undefined {
    if (typeof ref !== 'string' || !/^#[\w-]*$/.test(ref) || this.#bases.length > 1) return undefined;
    if (ref === '#') return ref; // $recursiveRef
    return this.#dynamic.get(ref.slice(1)) === 1 ? ref : undefined;
  }

  #walk(schema: unknown, at: string, base: string, depth: number): void {
    if (!isDict(schema) || depth > LIMITS.depth * 3) return;
    const own = typeof schema.$id === 'string' ? resolve(schema.$id, base) : undefined;
    const uri = own?.replace(/#$/, '') ?? base;
    if (own !== undefined || at === this.#root.at) {
      this.#bases.push({ at, uri });
      this.#named.set(uri, { schema, at });
    }
    for (const key of ['$anchor', '$dynamicAnchor']) {
      const name = schema[key];
      if (typeof name === 'string') this.#named.set(`${uri}#${name}`, { schema, at });
      if (typeof name === 'string' && key === '$dynamicAnchor') this.#dynamic.set(name, (this.#dynamic.get(name) ?? 0) + 1);
    }
    const into = (s: unknown, ...keys: (string | number)[]) => this.#walk(s, down(at, ...keys), uri, depth + 1);
    for (const key of [...ONE, ...REST]) if (key in schema) into(schema[key], key);
    for (const key of LISTS) if (Array.isArray(schema[key])) for (const [i, s] of (schema[key] as unknown[]).entries()) into(s, key, i);
    for (const key of MAPS) {
      if (isDict(schema[key])) for (const [k, s] of Object.entries(schema[key])) into(s, key, k);
    }
  }
}

/** Percent signs of a fragment worked out; a stray one stands for itself. */
function decoded(text: string): string {
  return text.replace(/(%[0-9A-Fa-f]{2})+/g, (run) => {
    try {
      return decodeURIComponent(run);
    } catch {
      return run;
    }
  });
}

/** An absolute URI, the fragment as written; undefined when it is none. */
function resolve(ref: string, base: string): string | undefined {
  const hash = ref.indexOf('#');
  const [path, fragment] = hash < 0 ? [ref, ''] : [ref.slice(0, hash), ref.slice(hash)];
  if (path === '') return base.replace(/#.*$/, '') + fragment;
  return URL.canParse(path, base) ? new URL(path, base).href + fragment : undefined;
}
