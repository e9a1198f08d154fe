import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Path of a file that may lie beside the repository. */
export const dataPath = (name: string): string => fileURLToPath(new URL(`../../../shared/data/${name}`, import.meta.url));

/** Why tests that need the file are skipped; '' when it is there. */
export const missing = (name: string): string => (existsSync(dataPath(name)) ? '' : ` (skipped: ../shared/data/${name} is not there)`);

export const readText = (name: string): string => readFileSync(dataPath(name), 'utf8');
export const readBytes = (name: string): Uint8Array => new Uint8Array(readFileSync(dataPath(name)));
export const readJson = (name: string): unknown => JSON.parse(readText(name));
