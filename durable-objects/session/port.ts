import type { Item } from '../../openai/requests/item-types.ts';
import type { BeginAnswer, BeginRequest, ConversationAnswer, ConversationOp, StoredResponse } from '../../serving/responses/types.ts';
import { objectNamed, type PlaceVars } from '../place.ts';
import { stubAs } from '../stub.ts';

/** A session as its callers see it. Written out because the platform's own types unfold nested JSON without end. */
export interface SessionPort {
  begin(r: BeginRequest, trace?: string): Promise<BeginAnswer>;
  get(id: string): Promise<{ response: StoredResponse; text: string } | undefined>;
  inputItems(id: string): Promise<Item[] | undefined>;
  cancel(id: string): Promise<{ response: StoredResponse; text: string } | undefined>;
  remove(id: string): Promise<boolean>;
  converse(root: string, op: ConversationOp): Promise<ConversationAnswer>;
  erase(): Promise<void>;
  missing(names: string[]): Promise<string[]>;
  stats(): Promise<{ turns: number; pages: number; pageBytes: number; running: number; rowsWritten: number }>;
  fetch(url: string, init?: RequestInit): Promise<Response>;
}

/** The session of that name (ids.ts), whether it has been begun or not. */
export function openSession(namespace: DurableObjectNamespace, name: string, place: PlaceVars = {}): SessionPort {
  return stubAs(objectNamed(namespace, name, place));
}
