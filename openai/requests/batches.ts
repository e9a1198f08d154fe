/** /v1/files and /v1/batches: what may be uploaded and asked for, and the lines of a batch. */

import { ApiError, badRequest, clip } from '../errors.ts';
import { bodyObject, type Fields, integer, object, oneOf, optional, string } from './fields.ts';
import { checkParameters, type Parameters } from './parameters.ts';
import { readMetadata } from './responses.ts';

export const BATCH_LIMITS = {
  /** Of one file. */
  fileBytes: 8 << 20,
  /** Of all files of a key. */
  bytes: 64 << 20,
  files: 256,
  batches: 64,
  lines: 10_000,
  /** Of one line; a row of SQLite's holds it. */
  lineBytes: 1 << 20,
} as const;

export const BATCH_URLS = ['/v1/chat/completions', '/v1/completions', '/v1/responses', '/v1/embeddings'] as const;

const HOUR = 3600;
const DAY = 24 * HOUR;
/** How long files are kept, s: where the client does not say, and at least and at most where it does. */
const FILE_LIFE = { unless: 30 * DAY, least: HOUR, most: 30 * DAY } as const;

export const batchParameters: Parameters = {
  ...{ input_file_id: 'read', endpoint: 'read', completion_window: 'read', metadata: 'read', output_expires_after: 'read' },
};

export interface NewBatch {
  inputFile: string;
  endpoint: (typeof BATCH_URLS)[number];
  /** s */
  window: number;
  metadata: Record<string, string> | null;
  /** Of its output files, s. */
  outputLife: number;
}

/** POST /v1/batches */
export function parseBatch(value: unknown): NewBatch {
  const body = bodyObject(value);
  checkParameters(body, batchParameters);
  oneOf(body.completion_window, 'completion_window', ['24h']);
  return {
    inputFile: string(body.input_file_id, 'input_file_id', 1, 128),
    endpoint: oneOf(body.endpoint, 'endpoint', BATCH_URLS),
    window: DAY,
    metadata: body.metadata === undefined || body.metadata === null ? null : readMetadata(body.metadata),
    outputLife:
      optional(body.output_expires_after, (v) => readLife(object(v, 'output_expires_after'), 'output_expires_after')) ?? FILE_LIFE.unless,
  };
}

function readLife(v: Fields, path: string): number {
  oneOf(v.anchor, `${path}.anchor`, ['created_at']);
  return integer(typeof v.seconds === 'string' ? Number(v.seconds) : v.seconds, `${path}.seconds`, FILE_LIFE.least, FILE_LIFE.most);
}

export interface NewFile {
  filename: string;
  purpose: string;
  /** s */
  life: number;
}

export const fileParameters: Parameters = {
  ...{ file: 'read', purpose: 'read', 'expires_after[anchor]': 'read', 'expires_after[seconds]': 'read' },
};

/** POST /v1/files: the fields of its form. */
export function parseFile(fields: Fields, filename = ''): NewFile {
  checkParameters(fields, fileParameters);
  const [anchor, seconds] = [fields['expires_after[anchor]'], fields['expires_after[seconds]']];
  return {
    filename: clip(filename || 'upload.jsonl', 255),
    purpose: oneOf(fields.purpose, 'purpose', ['batch']),
    life: anchor === undefined && seconds === undefined ? FILE_LIFE.unless : readLife({ anchor, seconds }, 'expires_after'),
  };
}

export interface BatchLine {
  customId: string;
  /** The request's body, as JSON. */
  body: string;
}

/** What is wrong with a file, as a batch tells it. */
export interface LineError {
  code: string;
  message: string;
  line: number | null;
  param: string | null;
}

const MAX_ERRORS = 100;

/** A batch's requests, or what is wrong with its file. */
export function parseLines(text: string, endpoint: string): { lines: BatchLine[]; errors: LineError[] } {
  const lines: BatchLine[] = [];
  const errors: LineError[] = [];
  const ids = new Set<string>();
  let n = 0;
  for (const line of text.split('\n')) {
    n++;
    if (line.trim() === '') continue;
    try {
      if (lines.length === BATCH_LIMITS.lines)
        throw badRequest(`A batch may have ${BATCH_LIMITS.lines} requests.`, undefined, 'too_many_requests');
      const read = parseLine(line, endpoint);
      if (ids.has(read.customId))
        throw badRequest(`The custom_id '${clip(read.customId)}' stands there twice.`, 'custom_id', 'duplicate_custom_id');
      ids.add(read.customId);
      lines.push(read);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      errors.push({ code: error.code ?? 'invalid_value', message: error.message, line: n, param: error.param });
      if (errors.length === MAX_ERRORS || error.code === 'too_many_requests') break;
    }
  }
  if (lines.length === 0 && errors.length === 0) {
    errors.push({ code: 'empty_file', message: 'The file holds no requests.', line: null, param: 'input_file_id' });
  }
  return { lines, errors };
}

function parseLine(line: string, endpoint: string): BatchLine {
  if (line.length > BATCH_LIMITS.lineBytes)
    throw badRequest(`The line is longer than ${BATCH_LIMITS.lineBytes}.`, undefined, 'line_too_long');
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    throw badRequest(`The line is not valid JSON: ${(error as Error).message}.`, undefined, 'invalid_json_line');
  }
  const given = object(value, 'line');
  const customId = string(given.custom_id, 'custom_id', 1, 512);
  oneOf(given.method, 'method', ['POST']);
  if (given.url !== endpoint) throw badRequest(`Its url must be the batch's endpoint, '${endpoint}'.`, 'url', 'mismatched_url');
  const body = object(given.body, 'body');
  for (const name of ['stream', 'background']) {
    if (body[name] === true) throw badRequest(`'${name}' has no place in a batch.`, `body.${name}`, 'unsupported_value');
  }
  return { customId, body: JSON.stringify(body) };
}
