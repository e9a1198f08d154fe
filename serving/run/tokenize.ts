import type { DetokenizeRequest, TokenizeRequest } from '../../openai/requests/types.ts';
import { chatPrompt, chatText } from './prompt.ts';
import type { Runtime } from './runtime.ts';

/** `/v1/tokenize`, `/v1/apply-template` and `/v1/detokenize`: what a prompt is to the model. */
export function tokenize({ served, engine }: Runtime, body: TokenizeRequest | DetokenizeRequest): Response {
  const { tokenizer } = served;
  if (body.kind === 'detokenize') return Response.json({ prompt: tokenizer.decode(body.tokens) });
  const { messages } = body;
  if (body.kind === 'template') return Response.json({ prompt: chatText(served, { ...body, messages: messages ?? [] }) });
  const tokens = messages
    ? chatPrompt(served, { ...body, messages })
    : tokenizer.encode(body.text ?? '', { bos: body.addSpecialTokens ? undefined : false });
  return Response.json({ tokens, count: tokens.length, max_model_len: engine.plan.context });
}
