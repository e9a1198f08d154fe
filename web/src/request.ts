import { isRecord } from './json.ts';
import { Problem } from './problem.ts';
import { readSchema, readTools, type Sampling, type Settings } from './settings.ts';
import type { Chat } from './state.ts';
import type { ChatRequest, KeptRequest, SamplingFields, WireMessage } from './transport.ts';
import { type AnswerTurn, reasoningOf, type Turn, wordsOf } from './turns.ts';

/** What is asked: a branch of a chat, as far as it is sent. */
export interface Asked {
  chat: Pick<Chat, 'system' | 'tools' | 'schema' | 'from' | 'summary'>;
  turns: readonly Turn[];
}

/** The turns that are sent: from `chat.from` on, if it is on this branch. */
export function sentTurns({ chat, turns }: Asked): readonly Turn[] {
  const at = chat.from === undefined ? -1 : turns.findIndex((turn) => turn.id === chat.from);
  return at < 0 ? turns : turns.slice(at);
}

/** The system prompt, and what was said before the first turn that is sent. */
function instructionsOf(asked: Asked): string {
  const { system, summary } = asked.chat;
  const earlier = summary && sentTurns(asked).length < asked.turns.length ? `What was said before, in short: ${summary}` : '';
  return [system.trim(), earlier].filter(Boolean).join('\n\n');
}

/**
 * The branch so far as a request. Answers that said nothing are left out, calls without results and
 * unset settings too.
 */
export function requestOf(asked: Asked, settings: Settings, model: string | undefined): ChatRequest {
  const messages: WireMessage[] = [];
  const system = instructionsOf(asked);
  if (system) messages.push({ role: 'system', content: system });
  const turns = sentTurns(asked);
  for (const [i, turn] of turns.entries()) {
    if (turn.role === 'user') messages.push({ role: 'user', content: wordsOf(turn) });
    else if (turn.role === 'tool') messages.push({ role: 'tool', content: turn.text, tool_call_id: turn.callId });
    else if (turn.calls.length && turns[i + 1]?.role === 'tool') {
      const tool_calls = turn.calls.map(({ id, name, arguments: args }) => ({
        id,
        type: 'function' as const,
        function: { name, arguments: args },
      }));
      messages.push({ role: 'assistant', content: spoken(turn) || null, tool_calls });
    } else if (spoken(turn)) messages.push({ role: 'assistant', content: spoken(turn) });
  }
  const schema = schemaOf(asked.chat.schema);
  return {
    ...(model && { model }),
    messages,
    ...samplingOf(settings),
    ...(settings.maxTokens !== null && { max_tokens: settings.maxTokens }),
    ...tooled(asked),
    ...(schema && { response_format: { type: 'json_schema', json_schema: { name: 'answer', schema } } }),
  };
}

/**
 * The same for `/v1/responses`: only what is new since the last answer that the server keeps, where its history is this
 * branch; otherwise everything (`whole` asks for that).
 */
export function keptRequestOf(asked: Asked, settings: Settings, model: string | undefined, whole = false): KeptRequest {
  const { messages, tools, max_tokens, response_format: _, ...sampling } = requestOf(asked, settings, model);
  const instructions = messages[0]?.role === 'system' ? String(messages[0].content) : undefined;
  const at = whole ? -1 : asked.turns.findLastIndex((turn) => turn.role === 'assistant');
  const previous = at < 0 ? undefined : previousOf(asked.turns[at] as AnswerTurn, asked.chat.from);
  const input = previous
    ? itemsOf(requestOf({ chat: { ...asked.chat, system: '', summary: '' }, turns: asked.turns.slice(at + 1) }, settings, model).messages)
    : itemsOf(messages.filter((message) => message.role !== 'system'));
  const schema = schemaOf(asked.chat.schema);
  return {
    ...sampling,
    input,
    ...(instructions && { instructions }),
    ...(previous && { previous_response_id: previous }),
    ...(max_tokens !== undefined && { max_output_tokens: max_tokens }),
    ...(tools && {
      tools: tools.map((tool) => (isRecord(tool) && isRecord(tool.function) ? { type: 'function', ...tool.function } : tool)),
    }),
    ...(schema && { text: { format: { type: 'json_schema', name: 'answer', schema } } }),
  };
}

/** The response to go on from, if the server's history up to it is what is shown here. */
function previousOf({ kept, status, finish, edited }: AnswerTurn, from: string | undefined): string | undefined {
  return kept && status === 'done' && finish === 'stop' && !edited && kept.from === from ? kept.id : undefined;
}

function itemsOf(messages: readonly WireMessage[]): unknown[] {
  return messages.flatMap((message): unknown[] => {
    if (message.role === 'tool') return [{ type: 'function_call_output', call_id: message.tool_call_id, output: message.content }];
    const said = message.content ? [{ role: message.role, content: message.content }] : [];
    const calls = 'tool_calls' in message ? (message.tool_calls ?? []) : [];
    return [...said, ...calls.map(({ id, function: call }) => ({ type: 'function_call', call_id: id, ...call }))];
  });
}

/** An answer's text without its reasoning, which templates leave out of earlier turns as well. */
const spoken = (answer: AnswerTurn): string => reasoningOf(answer.text).rest;

export function samplingOf(s: Sampling): SamplingFields {
  const given = {
    temperature: s.temperature,
    top_p: s.topP,
    top_k: s.topK,
    min_p: s.minP,
    repetition_penalty: s.repetition,
    frequency_penalty: s.frequency,
    presence_penalty: s.presence,
    seed: s.seed,
    stop: s.stop.length ? s.stop : null,
  };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== null));
}

function tooled({ chat }: Asked): { tools?: Record<string, unknown>[] } {
  const tools = read(() => readTools(chat.tools), 'The tools cannot be read.');
  return tools ? { tools } : {};
}

const schemaOf = (text: string) => read(() => readSchema(text), 'The JSON schema cannot be read.');

function read<T>(reader: () => T, title: string): T {
  try {
    return reader();
  } catch (error) {
    const detail = error instanceof Error ? error.message : undefined;
    throw new Problem({ next: 'settings', title, advice: 'Correct it in the settings, or empty the field.', detail });
  }
}

/** The same request for a shell. The key stays out of it. */
export function curlOf(request: ChatRequest, origin: string, needsKey: boolean): string {
  const quote = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;
  const lines = [`curl -N ${origin}/v1/chat/completions`, `-H 'content-type: application/json'`];
  if (needsKey) lines.push(`-H "authorization: Bearer $TURNSTONE_KEY"`);
  lines.push(`-d ${quote(JSON.stringify({ ...request, stream: true }))}`);
  return lines.join(' \\\n  ');
}
