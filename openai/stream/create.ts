/** The writer of each wire format. */

import type { ChatRequest, CompletionRequest, ResponsesRequest } from '../requests/types.ts';
import type { Answer, AnswerMeta } from './answer.ts';
import { MessageStream, MessageWhole } from './anthropic.ts';
import { ChatStream, ChatWhole } from './chat.ts';
import { CompletionStream, CompletionWhole } from './completion.ts';
import { OllamaAnswer } from './ollama.ts';
import { ResponseStream, ResponseWhole } from './responses.ts';

/** `choices`: n, times the number of prompts. */
export function createAnswer(request: ChatRequest | CompletionRequest | ResponsesRequest, meta: AnswerMeta): Answer {
  if (request.kind === 'response') return request.stream ? new ResponseStream(request, meta) : new ResponseWhole(request, meta);
  if (request.wire === 'ollama' || request.wire === 'ollama-generate') return new OllamaAnswer(request, meta);
  if (request.kind === 'chat' && request.wire === 'anthropic')
    return request.stream ? new MessageStream(request, meta) : new MessageWhole(request, meta);
  if (request.kind === 'chat') return request.stream ? new ChatStream(request, meta) : new ChatWhole(request, meta);
  return request.stream ? new CompletionStream(request, meta) : new CompletionWhole(request, meta);
}
