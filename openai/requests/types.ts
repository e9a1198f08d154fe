/** What the Worker hands to the replica: a request already checked, normalised and bounded. Plain JSON, it crosses as a body. */

import type { Sampling } from '../../engine/types.ts';
import type { InputItem } from './item-types.ts';

/** What the client gave of the engine's sampling; `resolveSampling` fills in the rest. `logprobs` n: the chosen token's and the n best. */
export type SamplingParams = Partial<Omit<Sampling, 'logitBias'>> & Pick<Sampling, 'logitBias'>;

/** A tool call of a past assistant turn. `arguments` is JSON text as the model wrote it. */
export interface ToolCall {
  id: string;
  name: string;
  arguments: string;
}

/** Text parts are joined. `developer` is kept apart here; `templateMessages` maps it to `system`. */
export type ChatMessage =
  | { role: 'system' | 'developer' | 'user'; content: string; name?: string }
  | { role: 'assistant'; content: string; name?: string; reasoning?: string; toolCalls?: ToolCall[] }
  | { role: 'tool'; content: string; toolCallId: string };

export type JsonSchema = boolean | { [key: string]: unknown };

export interface Tool {
  name: string;
  description?: string;
  /** A JSON schema of the arguments; `{ type: 'object', properties: {} }` when the client gave none. */
  parameters: JsonSchema;
  strict: boolean;
}

/** `names` limits the choice; a named function is `required` with one name. */
export interface ToolChoice {
  mode: 'none' | 'auto' | 'required';
  names?: string[];
}

export type ResponseFormat =
  | { type: 'text' }
  | { type: 'json_object' }
  /** `param`: what the client called it, where that is not the API's own name. */
  | { type: 'json_schema'; name: string; description?: string; schema: JsonSchema; strict: boolean; param?: string }
  | { type: 'regex'; pattern: string; param: string }
  | { type: 'choice'; choices: string[]; param: string }
  | { type: 'grammar'; grammar: string; param: string };

/** What every kind of generation shares. */
export interface GenerationRequest {
  /** '' when the client named none: the server's first. */
  model: string;
  /** Whose form the answer takes; OpenAI's unless given. */
  wire?: 'anthropic' | 'ollama' | 'ollama-generate';
  stream: boolean;
  /** `stream_options.include_usage`. */
  includeUsage: boolean;
  /** Choices a prompt. */
  n: number;
  /** undefined: up to the context's end. */
  maxTokens?: number;
  /** What the client called it. */
  maxTokensParam: 'max_tokens' | 'max_completion_tokens' | 'max_output_tokens';
  /** At most 4, none empty. */
  stop: string[];
  stopTokenIds: number[];
  ignoreEos: boolean;
  sampling: SamplingParams;
  promptCacheKey?: string;
  cacheSalt?: string;
  /** How long the model stays loaded after this request, ms; the server's KEEP_ALIVE_S unless given. */
  keepAliveMs?: number;
  /** Log-probabilities of the prompt's own tokens are told, and the n best in each place. */
  promptLogprobs?: number;
  /** Lower is served earlier; 0 when not given. */
  priority: number;
  /** Asks the server to report where and how the request ran. */
  explain: boolean;
}

export interface ChatRequest extends GenerationRequest {
  kind: 'chat';
  messages: ChatMessage[];
  tools: Tool[];
  toolChoice: ToolChoice;
  parallelToolCalls: boolean;
  responseFormat: ResponseFormat;
  /** Extra variables for the chat template, e.g. `enable_thinking`. */
  templateArgs: Record<string, string | number | boolean>;
  /** Tokens that the model may think before it answers. */
  thinkingBudget?: number;
  /** Instead of the model's own. */
  chatTemplate?: string;
  /** False: the prompt does not open the assistant's turn. */
  addGenerationPrompt?: boolean;
  /** The last message, the assistant's, is the beginning of the answer. */
  continueFinal?: boolean;
}

/** A turn of the Responses API. `n` is 1. */
export interface ResponsesRequest extends Omit<ChatRequest, 'kind'> {
  kind: 'response';
  /** This turn's items. `messages` is made of the history and these (`itemMessages`) once the history is known. */
  input: InputItem[];
  instructions?: string;
  previousResponseId?: string;
  /** Goes on from all that the conversation holds, and is added to it. */
  conversation?: string;
  /** A conversation that is too long loses its oldest turns instead of being refused. */
  truncate?: boolean;
  /** Of the model that gave the previous response; set where that is known. */
  previousFingerprint?: string;
  /** undefined: as the server can. */
  store?: boolean;
  background: boolean;
  /** What the response object repeats of the request. */
  echo: Record<string, unknown>;
}

export interface CompletionRequest extends GenerationRequest {
  kind: 'completion';
  /** One or more; choice index = prompt index × n + j. Text, or token ids as given. */
  prompts: (string | number[])[];
  /** The prompt's text comes before the completion's: the replica calls `answer.echo` with it. */
  echo: boolean;
  responseFormat: ResponseFormat;
}

export interface TokenizeRequest extends Pick<ChatRequest, 'templateArgs' | 'chatTemplate' | 'addGenerationPrompt' | 'continueFinal'> {
  /** template: the text of the prompt, not its tokens. */
  kind: 'tokenize' | 'template';
  model: string | undefined;
  /** Either text, or messages to be put through the chat template. */
  text?: string;
  messages?: ChatMessage[];
  tools: Tool[];
  addSpecialTokens: boolean;
}

export interface DetokenizeRequest {
  kind: 'detokenize';
  model: string | undefined;
  tokens: number[];
}
