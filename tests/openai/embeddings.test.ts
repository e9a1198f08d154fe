import { describe, expect, it } from 'vitest';
import { embeddingsResponse } from '../../openai/embeddings.ts';
import type { ApiError } from '../../openai/errors.ts';
import { parseEmbeddings } from '../../openai/requests/embeddings.ts';
import { check, missing } from './schema.ts';

const wrong = (body: unknown) => {
  try {
    parseEmbeddings(body);
  } catch (e) {
    const { status, code, param } = e as ApiError;
    return [status, code, param];
  }
  return 'accepted';
};

describe('embeddings requests', () => {
  it('take a string, strings, ids and arrays of ids', () => {
    const input = (v: unknown) => parseEmbeddings({ model: 'm', input: v }).input;
    expect(input('a')).toEqual(['a']);
    expect(input(['a', 'b'])).toEqual(['a', 'b']);
    expect(input([1, 2])).toEqual([[1, 2]]);
    expect(input([[1], [2, 3]])).toEqual([[1], [2, 3]]);
    expect(parseEmbeddings({ input: 'a', encoding_format: 'base64', dimensions: 64, user: 'u' })).toEqual({
      ...{ kind: 'embeddings', model: undefined, input: ['a'], encodingFormat: 'base64', dimensions: 64 },
    });
    expect(parseEmbeddings({ input: 'a', encoding_format: null, dimensions: null }).encodingFormat).toBe('float');
  });

  it('are refused with status, code and param', () => {
    expect(wrong({ model: 'm' })).toEqual([400, 'missing_required_parameter', 'input']);
    expect(wrong({ input: '' })).toEqual([400, 'string_too_short', 'input']);
    expect(wrong({ input: [] })).toEqual([400, 'array_too_short', 'input']);
    expect(wrong({ input: ['a', ''] })).toEqual([400, 'string_too_short', 'input[1]']);
    expect(wrong({ input: ['a', 1] })).toEqual([400, 'invalid_type', 'input[1]']);
    expect(wrong({ input: [1, 'a'] })).toEqual([400, 'invalid_type', 'input[1]']);
    expect(wrong({ input: [1.5] })).toEqual([400, 'invalid_type', 'input[0]']);
    expect(wrong({ input: [[1], []] })).toEqual([400, 'array_too_short', 'input[1]']);
    expect(wrong({ input: [-1] })).toEqual([400, 'integer_below_min_value', 'input[0]']);
    expect(wrong({ input: Array(2049).fill('a') })).toEqual([400, 'array_above_max_length', 'input']);
    expect(wrong({ input: 'a'.repeat((1 << 18) + 1) })).toEqual([400, 'string_above_max_length', 'input']);
    expect(wrong({ input: 'a', encoding_format: 'hex' })).toEqual([400, 'invalid_value', 'encoding_format']);
    expect(wrong({ input: 'a', dimensions: 0 })).toEqual([400, 'integer_below_min_value', 'dimensions']);
    expect(wrong({ input: 'a', stream: true })).toMatchObject([400, expect.any(String), 'stream']);
    expect(wrong('a')).toMatchObject([400, 'invalid_type', null]);
  });
});

describe('embeddings answers', () => {
  const vectors = [Float32Array.from([0.1, -1 / 3, 1e-8]), Float32Array.from([1, 0, -0])];

  it('give floats that are the float32 numbers, and the same in base64', () => {
    const floats = embeddingsResponse('m', vectors, 'float', 5);
    expect(floats.data.map((d) => Float32Array.from(d.embedding as number[]))).toEqual(
      vectors.map((v) => Float32Array.from(v, (x) => x + 0)),
    );
    const text = embeddingsResponse('m', vectors, 'base64', 5);
    text.data.forEach((d, i) => {
      const bytes = Buffer.from(d.embedding as string, 'base64');
      expect(new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length))).toEqual(vectors[i]);
      expect(Buffer.from(bytes).toString('base64')).toBe(d.embedding); // padding and all
    });
    expect(text.usage).toEqual({ prompt_tokens: 5, total_tokens: 5 });
  });

  it.skipIf(missing)(`are what OpenAI's description says${missing ? ` (skipped: ${missing})` : ''}`, () => {
    check('CreateEmbeddingResponse', embeddingsResponse('m', vectors, 'float', 5));
    expect(() => check('CreateEmbeddingResponse', { object: 'list', data: [], model: 'm' })).toThrow();
  });
});
