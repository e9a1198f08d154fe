/** The items that a conversation of the Responses API is made of, in the API's own shape. */

type Status = 'in_progress' | 'completed' | 'incomplete';

export interface MessageItem {
  type: 'message';
  id: string;
  role: 'system' | 'developer' | 'user' | 'assistant';
  status: Status;
  content: { type: 'input_text' | 'output_text'; text: string; annotations?: never[]; logprobs?: readonly unknown[] }[];
}

export interface FunctionCallItem {
  type: 'function_call';
  id: string;
  call_id: string;
  name: string;
  arguments: string;
  status: Status;
}

export interface FunctionCallOutputItem {
  type: 'function_call_output';
  id: string;
  call_id: string;
  output: string;
  status: Status;
}

export interface ReasoningItem {
  type: 'reasoning';
  id: string;
  summary: never[];
  content: { type: 'reasoning_text'; text: string }[];
  status: Status;
}

export type OutputItem = MessageItem | FunctionCallItem | ReasoningItem;
export type Item = OutputItem | FunctionCallOutputItem;

/** Stands for an item that is kept, of an earlier response or of a conversation. */
export interface ItemReference {
  type: 'item_reference';
  id: string;
}

/** What `/v1/responses/compact` made of a conversation: only this server reads it. */
export interface CompactionItem {
  type: 'compaction';
  id: string;
  encrypted_content: string;
}

/** What an input may hold before `resolveItems` (serving/responses) has put items in the place of references and summaries. */
export type InputItem = Item | ItemReference | CompactionItem;
