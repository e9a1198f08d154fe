import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkEncoder, checkVocabulary } from '../../embedder/onnx/check.ts';
import { type Graph, readGraph, type Value } from '../../embedder/onnx/graph.ts';
import { ModelFileError } from '../../models/error.ts';
import { FIXTURES } from './packs.ts';

const small = new Uint8Array(readFileSync(join(FIXTURES, 'small/model.onnx')));

describe('an ONNX file', () => {
  it('gives its ends, operators and table', () => {
    const graph = readGraph(small, 'model.onnx');
    expect(graph.producer).toBe('pytorch');
    expect(graph.inputs.map((i) => [i.name, i.type, i.shape])).toEqual([
      ['input_ids', 7, ['batch', 'tokens']],
      ['attention_mask', 7, ['batch', 'tokens']],
    ]);
    expect(graph.nodes.filter((n) => n.op === 'Softmax')).toHaveLength(2);
    const encoder = checkEncoder(graph, 'model.onnx');
    expect(encoder).toMatchObject({ output: 'last_hidden_state', rank: 3, dim: 32, opset: 20, dynamic: false, idType: 'int64' });
    const vocabulary = JSON.parse(readFileSync(join(FIXTURES, 'small/tokenizer.json'), 'utf8')).model.vocab;
    expect(encoder.table).toEqual({ name: 'embed.weight', rows: Object.keys(vocabulary).length });
  });

  it('cut short anywhere is refused as cut short, never read beyond its end', () => {
    for (let n = 1; n < small.length; n = Math.floor(n * 1.07) + 1) {
      expect(() => checkEncoder(readGraph(small.subarray(0, n), 'model.onnx'), 'model.onnx'), `${n} bytes`).toThrow(ModelFileError);
    }
    expect(() => readGraph(small.subarray(0, small.length - 1), 'model.onnx')).toThrow(/cut short or damaged \(at byte/);
    expect(() => readGraph(new TextEncoder().encode('GGUF....'), 'model.onnx')).toThrow(ModelFileError);
    expect(() => readGraph(new Uint8Array(0), 'model.onnx')).toThrow(/is no ONNX model/);
  });

  it('damaged anywhere is read or refused with a ModelFileError, quickly', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(small.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 }), (changes) => {
        const bytes = small.slice();
        for (const [at, value] of changes) bytes[at] = value;
        try {
          checkEncoder(readGraph(bytes, 'model.onnx'), 'model.onnx');
        } catch (e) {
          expect(e).toBeInstanceOf(ModelFileError);
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe('a graph that is no sentence encoder', () => {
  const value = (name: string, shape: (string | number)[], type = 7): Value => ({ name, type, shape });
  const graph = (change: Partial<Graph>): Graph => ({
    irVersion: 10,
    producer: '',
    opsets: new Map([['', 17]]),
    inputs: [value('input_ids', ['b', 't']), value('attention_mask', ['b', 't'])],
    outputs: [value('last_hidden_state', ['b', 't', 384], 1)],
    initializers: new Map(),
    nodes: [],
    ...change,
  });
  const why = (change: Partial<Graph>, output?: string): string => {
    try {
      checkEncoder(graph(change), 'm.onnx', output);
      return 'accepted';
    } catch (e) {
      return (e as Error).message;
    }
  };

  it('is refused by the name of what is wrong', () => {
    expect(why({})).toBe('accepted');
    expect(why({ opsets: new Map([['', 27]]) })).toMatch(/operator set 27, must be 11\.\.26/);
    expect(why({ inputs: [value('pixel_values', ['b', 3, 224, 224], 1)] })).toMatch(/no input "input_ids"; its inputs are "pixel_values"/);
    expect(why({ inputs: [value('input_ids', ['b', 't']), value('past_key_values.0.key', ['b', 't'])] })).toMatch(
      /input "past_key_values.0.key"/,
    );
    expect(why({ inputs: [value('input_ids', [1, 't'])] })).toMatch(/input "input_ids" has the fixed size 1/);
    expect(why({ inputs: [value('input_ids', ['b', 't'], 1)] })).toMatch(/input "input_ids" is float32, must be int64 or int32/);
    expect(why({ outputs: [value('logits', ['b', 't', 8], 10)] })).toMatch(/output "logits" is float16/);
    expect(why({ outputs: [value('a', ['b', 8], 1), value('b', ['b', 8], 1)] })).toMatch(
      /no output "last_hidden_state"; its outputs are "a", "b"/,
    );
    expect(why({ outputs: [value('x', ['b', 't', 'hidden'], 1)] })).toMatch(/output "x" ends with dimension hidden/);
    expect(why({}, 'pooler_output')).toMatch(/no output "pooler_output"/);
    const node = { name: 'attn', op: 'Flash', domain: 'com.example', inputs: [], outputs: [] };
    expect(why({ nodes: [node] })).toMatch(/operator com\.example:Flash of node "attn"/);
    const outside = { name: 'w', type: 1, dims: [2], external: true };
    expect(why({ initializers: new Map([['w', outside]]) })).toMatch(/tensor "w" is in another file/);
  });

  it('a tokenizer that is too large or far too small for the table is named', () => {
    const table = { name: 'words', rows: 30_528 };
    expect(() => checkVocabulary(table, 30_521, 'tokenizer.json')).not.toThrow(); // padded to a multiple of 64
    expect(() => checkVocabulary(table, 30_528, 'tokenizer.json')).toThrow(/ids up to 30528, but the model's table "words" has 30528 rows/);
    expect(() => checkVocabulary(table, 16_383, 'tokenizer.json')).toThrow(/would never be used: it is another model's tokenizer/);
  });
});
