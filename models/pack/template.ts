import { DIALECT_NAMES } from '../grammar/dialects/index.ts';
import { type ChatTemplate, compileTemplate } from '../template.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import type { Manifest } from './manifest.ts';

/** For models without a template, by the tags that their vocabulary has: ChatML's, or Gemma's. */
const FALLBACKS: readonly [open: string, end: string, template: string][] = [
  [
    '<|im_start|>',
    '<|im_end|>',
    `{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}`,
  ],
  [
    '<start_of_turn>',
    '<end_of_turn>',
    `{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system turn') }}{% endif %}{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else 'user') + '\n' + m.content + '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}`,
  ],
];

type Words = Pick<Tokenizer, 'bos' | 'eos' | 'bytesOf' | 'idOf' | 'isSpecial'>;

const has = (t: Words, tag: string): boolean => {
  const id = t.idOf(tag);
  return id !== undefined && t.isSpecial(id);
};

const fallback = (t: Words) => FALLBACKS.find(([open, end]) => has(t, open) && has(t, end));

/** What ends an answer under a template that stands in for a missing one. */
export function fallbackStops(manifest: Pick<Manifest, 'chatTemplate'>, tokenizer: Words): number[] {
  const end = manifest.chatTemplate === undefined && fallback(tokenizer)?.[1];
  return end ? [tokenizer.idOf(end) as number] : [];
}

/**
 * A pack's chat template; where it has none, one for the tags of its vocabulary. `toolCalls`: how the model writes calls, before what the pack says; undefined or `auto`: as
 * the pack says, or its template tells.
 */
export function templateOf(
  manifest: Pick<Manifest, 'toolCalls'> & { chatTemplate: string },
  tokenizer: Words,
  toolCalls?: string,
): ChatTemplate;
export function templateOf(
  manifest: Pick<Manifest, 'chatTemplate' | 'toolCalls'>,
  tokenizer: Words,
  toolCalls?: string,
): ChatTemplate | undefined;
export function templateOf(
  manifest: Pick<Manifest, 'chatTemplate' | 'toolCalls'>,
  tokenizer: Words,
  toolCalls?: string,
): ChatTemplate | undefined {
  const source = manifest.chatTemplate ?? fallback(tokenizer)?.[2];
  if (source === undefined) return undefined;
  const text = (id: number | undefined) => (id === undefined ? undefined : new TextDecoder().decode(tokenizer.bytesOf(id)));
  return compileTemplate(source, {
    bos: text(tokenizer.bos),
    eos: text(tokenizer.eos),
    toolCalls: DIALECT_NAMES.find((d) => d === toolCalls) ?? manifest.toolCalls,
  });
}
