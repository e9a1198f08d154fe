import type { Runtime } from './run/runtime.ts';

/** The header of a replica's answers that says how long its prompts may be: tokens, and the most UTF-16 units that one stands for. For the app alone. */
export const PROMPT_ROOM = 'x-turnstone-prompt-room';

export function tellRoom({ engine, served }: Runtime, response: Response): Response {
  response.headers.set(PROMPT_ROOM, `${engine.maxPrompt} ${served.tokenizer.most}`);
  return response;
}
