import { DIALECT_NAMES } from '../grammar/dialects/index.ts';
import { type ChatTemplate, compileTemplate } from '../template.ts';
import type { Tokenizer } from '../tokenizer/tokenizer.ts';
import type { Manifest } from './manifest.ts';

/**
 * A pack's chat template, when it has one. `toolCalls`: how the model writes calls, before what the pack says; undefined or `auto`: as
 * the pack says, or its template tells.
 */
export function templateOf(
  manifest: Pick<Manifest, 'chatTemplate' | 'toolCalls'>,
  tokenizer: Pick<Tokenizer, 'bos' | 'eos' | 'bytesOf'>,
  toolCalls?: string,
): ChatTemplate | undefined {
  if (manifest.chatTemplate === undefined) return undefined;
  const text = (id: number | undefined) => (id === undefined ? undefined : new TextDecoder().decode(tokenizer.bytesOf(id)));
  return compileTemplate(manifest.chatTemplate, {
    bos: text(tokenizer.bos),
    eos: text(tokenizer.eos),
    toolCalls: DIALECT_NAMES.find((d) => d === toolCalls) ?? manifest.toolCalls,
  });
}
