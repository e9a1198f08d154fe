import type { ChatRequest, WireMessage } from './api.ts';
import { Problem } from './problem.ts';
import { readTools, type Settings } from './settings.ts';
import type { Conversation } from './state.ts';

/**
 * The conversation so far as a request. Answers that said nothing are left out, calls without results and
 * unset settings too. */
export function requestOf({ turns, tools: text }: Conversation, settings: Settings, model: string | undefined): ChatRequest {
  const messages: WireMessage[] = [];
  if (settings.system.trim()) messages.push({ role: 'system', content: settings.system });
  for (const [i, turn] of turns.entries()) {
    if (turn.role === 'user') messages.push({ role: 'user', content: turn.text });
    else if (turn.role === 'tool') messages.push({ role: 'tool', content: turn.text, tool_call_id: turn.callId });
    else if (turn.calls.length && turns[i + 1]?.role === 'tool') {
      const tool_calls = turn.calls.map(({ id, name, arguments: args }) => ({
        id,
        type: 'function' as const,
        function: { name, arguments: args },
      }));
      messages.push({ role: 'assistant', content: turn.text || null, tool_calls });
    } else if (turn.text) messages.push({ role: 'assistant', content: turn.text });
  }
  const request: ChatRequest = { messages };
  if (model) request.model = model;
  if (settings.temperature !== null) request.temperature = settings.temperature;
  if (settings.topP !== null) request.top_p = settings.topP;
  if (settings.maxTokens !== null) request.max_tokens = settings.maxTokens;
  if (settings.seed !== null) request.seed = settings.seed;
  const tools = toolsOf(text);
  if (tools) request.tools = tools;
  return request;
}

function toolsOf(text: string): unknown[] | undefined {
  try {
    return readTools(text);
  } catch (error) {
    const detail = error instanceof Error ? error.message : undefined;
    throw new Problem({
      next: 'settings',
      title: 'The tools cannot be read.',
      advice: 'Correct them in the settings, or empty the field.',
      detail,
    });
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
