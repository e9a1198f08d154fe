import { expect, it } from 'vitest';
import { fallbackStops, templateOf } from '../../models/pack/template.ts';

const vocabulary = (...special: string[]) => ({
  bos: undefined,
  eos: undefined,
  idOf: (text: string) => (special.includes(text) ? special.indexOf(text) : undefined),
  isSpecial: () => true,
  bytesOf: () => new Uint8Array(),
});
const messages = [
  { role: 'user', content: 'Hi' },
  { role: 'assistant', content: 'Yes?' },
];

it('a model without a template has that of the tags of its vocabulary, whose end ends an answer', () => {
  const chatml = vocabulary('<|im_start|>', '<|im_end|>');
  expect(templateOf({}, chatml)?.render({ messages, addGenerationPrompt: true })).toBe(
    '<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nYes?<|im_end|>\n<|im_start|>assistant\n',
  );
  expect(fallbackStops({}, chatml)).toEqual([1]);
  const gemma = vocabulary('<start_of_turn>', '<end_of_turn>');
  expect(templateOf({}, gemma)?.render({ messages, addGenerationPrompt: false })).toBe(
    '<start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\nYes?<end_of_turn>\n',
  );
  expect(templateOf({}, vocabulary('<|im_start|>'))).toBeUndefined();
  expect(templateOf({ chatTemplate: 'own' }, chatml)?.render({ messages })).toBe('own');
  expect(fallbackStops({ chatTemplate: 'own' }, chatml)).toEqual([]);
});
