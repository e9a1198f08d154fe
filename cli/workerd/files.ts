/** What a process serves as static assets: lists of files, made when it starts. */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { extname, join, relative, sep } from 'node:path';
import type { LocalPack } from '../packs.ts';
import type { SiteFile } from './modules/site-file.ts';

export interface SiteFiles {
  /** The name of the folder's binding. */
  disk: string;
  folder: string;
  files: Record<string, SiteFile>;
}

const TYPES: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json',
  '.webmanifest': 'application/manifest+json',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.wasm': 'application/wasm',
  '.woff2': 'font/woff2',
  '.txt': 'text/plain; charset=utf-8',
  '.md': 'text/markdown; charset=utf-8',
};

/** The page's folder, with the headers that its `_headers` file says. */
export function siteFiles(folder: string): SiteFiles {
  const rules = headerRules(join(folder, '_headers'));
  const names = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((f) => f.isFile() && !f.name.startsWith('.') && f.name !== '_headers')
    .map((f) => relative(folder, join(f.parentPath ?? f.path, f.name)).replaceAll(sep, '/'));
  const files = names.map((name) => {
    const path = `/${name}`;
    const headers = Object.assign({}, ...rules.filter((r) => r.matches(path)).map((r) => r.headers)) as Record<string, string>;
    const bytes = readFileSync(join(folder, name));
    return [path, { ...described('SITE', name, bytes.length, digest(bytes)), headers: { ...typeOf(name), ...headers } }] as const;
  });
  return { disk: 'SITE', folder, files: Object.fromEntries(files) };
}

/** The served pack, under its name. */
export function packFiles(pack: LocalPack): SiteFiles {
  const names = readdirSync(pack.folder, { withFileTypes: true }).filter((f) => f.isFile() && !f.name.startsWith('.'));
  const files = names.map(({ name }) => {
    const { size, mtimeMs } = statSync(join(pack.folder, name));
    const file = described('PACK', name, size, digest(`${pack.folder}\0${name}\0${size}\0${mtimeMs}`)); // large: not read for it
    return [`/packs/${pack.id}/${name}`, { ...file, headers: typeOf(name) }] as const;
  });
  return { disk: 'PACK', folder: pack.folder, files: Object.fromEntries(files) };
}

/** Files that come and go, by their names in a folder: below a path, in a folder's binding. */
export interface OpenFiles {
  disk: string;
  folder: string;
  below: string;
}

/** A pack's adapters. */
export const adapterFiles = (pack: LocalPack): OpenFiles[] =>
  pack.adapters === undefined ? [] : [{ disk: 'ADAPTERS', folder: join(pack.adapters, 'adapters'), below: `/packs/${pack.id}/adapters/` }];

const described = (disk: string, name: string, bytes: number, hash: string) => ({ disk, name, bytes, etag: `"${hash}"` });
const digest = (data: string | Uint8Array) => createHash('sha256').update(data).digest('hex').slice(0, 32);
const typeOf = (name: string) => ({ 'content-type': TYPES[extname(name)] ?? 'application/octet-stream' });

/** Cloudflare's `_headers`: a path, with `*` at its end for all below, then indented headers. */
function headerRules(path: string): { matches(path: string): boolean; headers: Record<string, string> }[] {
  if (!existsSync(path)) return [];
  const rules: { matches(path: string): boolean; headers: Record<string, string> }[] = [];
  for (const line of readFileSync(path, 'utf8').split('\n')) {
    if (line.trim() === '' || line.startsWith('#')) continue;
    if (!/^\s/.test(line)) {
      const rule = line.trim();
      const matches = rule.endsWith('*') ? (p: string) => p.startsWith(rule.slice(0, -1)) : (p: string) => p === rule;
      rules.push({ matches, headers: {} });
      continue;
    }
    const colon = line.indexOf(':');
    const rule = rules.at(-1);
    if (!rule || colon < 0) throw new Error(`${path}: "${line.trim()}" is neither a path nor a header of one`);
    rule.headers[line.slice(0, colon).trim().toLowerCase()] = line.slice(colon + 1).trim();
  }
  return rules;
}
