/** The items a conversation of the Responses API is made of, in the API's own shape, and the chat messages they stand for. */

import { badRequest, clip, unsupportedValue } from '../errors.ts';
import { array, type Fields, identifier, object, oneOf, string } from './fields.ts';
import type { InputItem, Item } from './item-types.ts';
import { MAX_MESSAGES, readArguments, readContent } from './messages.ts';
import type { ChatMessage } from './types.ts';

const MAX_SUMMARY = 1 << 20; // UTF-16 units

/** One part of an assistant's text, as it is shown and stored. */
export const outputText = (text: string) => ({ type: 'output_text' as const, text, annotations: [] as never[], logprobs: [] as unknown[] });

/** `input`: a string, or items. Their ids are empty until `withIds`. */
export function readInput(v: unknown, path = 'input'): InputItem[] {
  if (typeof v === 'string') {
    return [{ type: 'message', id: '', role: 'user', status: 'completed', content: [{ type: 'input_text', text: string(v, 'input') }] }];
  }
  return array(v, path, 0, MAX_MESSAGES).flatMap((item, i) => readItem(object(item, `${path}[${i}]`), `${path}[${i}]`));
}

function readItem(item: Fields, path: string): InputItem | [] {
  const type = (item.type ?? undefined) === undefined ? typeOf(item) : string(item.type, `${path}.type`, 1, 64);
  switch (type) {
    case 'message': {
      const role = oneOf(item.role, `${path}.role`, ['system', 'developer', 'user', 'assistant']);
      const text = readContent(item.content, `${path}.content`, 1, role === 'assistant' ? '' : '\n');
      const content = role === 'assistant' ? outputText(text) : { type: 'input_text' as const, text };
      return { type, id: '', role, status: 'completed', content: [content] };
    }
    case 'function_call':
      return {
        type,
        id: '',
        call_id: string(item.call_id, `${path}.call_id`, 1, 256),
        name: identifier(item.name, `${path}.name`),
        arguments: readArguments(item.arguments, `${path}.arguments`),
        status: 'completed',
      };
    case 'function_call_output':
      return {
        type,
        id: '',
        call_id: string(item.call_id, `${path}.call_id`, 1, 256),
        output: readContent(item.output, `${path}.output`, 0), // a tool may have nothing to say
        status: 'completed',
      };
    case 'item_reference':
      return { type, id: string(item.id, `${path}.id`, 1, 256) };
    case 'compaction':
      return { type, id: '', encrypted_content: string(item.encrypted_content, `${path}.encrypted_content`, 1, MAX_SUMMARY) };
    case 'reasoning':
      return []; // clients send back all that they were given; a model is not told what it once thought
    default:
      throw unsupportedValue(
        `${path}.type`,
        `Items of type '${clip(type)}' are not supported; send messages, function calls and their outputs.`,
      );
  }
}

/** An id alone is a reference, anything else without a type is a message. */
const typeOf = (item: Fields): string =>
  item.role === undefined && item.content === undefined && typeof item.id === 'string' ? 'item_reference' : 'message';

const PREFIX = { message: 'msg', function_call: 'fc', function_call_output: 'fco', reasoning: 'rs' } as const;

/** The response that an item's id names; undefined when it is no such id. */
export function responseOfItem(item: string): string | undefined {
  const turn = /^[a-z]{2,4}_([0-9a-f]{64})_(?:in)?[0-9]{1,6}$/.exec(item)?.[1];
  return turn && `resp_${turn}`;
}

/** Ids that say which response the items came with. */
export function withIds(items: readonly Item[], response: string): Item[] {
  return items.map((item, i) => ({ ...item, id: `${PREFIX[item.type]}_${response.replace(/^resp_/, '')}_in${i}` }));
}

/** Items as chat messages: an assistant's text and the calls after it are one message. References that are not resolved yet say nothing. */
export function itemMessages(items: readonly InputItem[], instructions?: string): ChatMessage[] {
  const messages: ChatMessage[] = instructions ? [{ role: 'system', content: instructions }] : [];
  for (const item of items) {
    if (item.type === 'message') {
      const content = item.content.map((c) => c.text).join('');
      messages.push(item.role === 'assistant' ? { role: 'assistant', content } : { role: item.role, content });
    } else if (item.type === 'function_call_output') {
      messages.push({ role: 'tool', content: item.output, toolCallId: item.call_id });
    } else if (item.type === 'function_call') {
      const call = { id: item.call_id, name: item.name, arguments: item.arguments };
      const last = messages.at(-1);
      if (last?.role === 'assistant') last.toolCalls = [...(last.toolCalls ?? []), call];
      else messages.push({ role: 'assistant', content: '', toolCalls: [call] });
    }
  }
  const resolved = items.every((i) => i.type !== 'item_reference' && i.type !== 'compaction');
  if (messages.length === 0 && resolved) throw badRequest("'input' holds nothing to answer.", 'input');
  return messages;
}
