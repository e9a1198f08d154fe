/** The writer of each wire format. */

import type { ChatRequest, CompletionRequest, ResponsesRequest } from '../requests/types.ts';
import type { Answer, AnswerMeta } from './answer.ts';
import { MessageAnswer } from './anthropic.ts';
import { ChatAnswer } from './chat.ts';
import { CompletionAnswer } from './completion.ts';
import { OllamaAnswer } from './ollama.ts';
import { ResponseAnswer } from './responses.ts';

/** Writes an answer in the form that its request asks for. */
export function createAnswer(request: ChatRequest | CompletionRequest | ResponsesRequest, meta: AnswerMeta): Answer {
  if (request.kind === 'response') return new ResponseAnswer(request, meta);
  if (request.wire === 'ollama' || request.wire === 'ollama-generate') return new OllamaAnswer(request, meta);
  if (request.kind === 'completion') return new CompletionAnswer(request, meta);
  return request.wire === 'anthropic' ? new MessageAnswer(request, meta) : new ChatAnswer(request, meta);
}
