import type { ErrorEnvelope } from '../../openai/errors.ts';
import type { Item, OutputItem } from '../../openai/requests/item-types.ts';
import type { ResponsesRequest } from '../../openai/requests/types.ts';
import type { Cost } from '../../policy/cost.ts';
import type { RefusalReason } from '../../policy/ticket.ts';
import type { Timings } from '../run/latency.ts';
import type { RouteReport } from '../run/npu.ts';

/** The checked request as the replica wants it; items and what the answer repeats are beside it. */
export type TurnRequest = Omit<ResponsesRequest, 'input' | 'echo'>;

/** Of the client's envelope, or of a replica that said no more. `retry_after` in s, where the queue refused. */
export type TurnError = Partial<ErrorEnvelope['error']> & { retry_after?: number };

/** What the finished response repeats: instructions, metadata, parameters. */
export type Echo = Record<string, unknown>;

export type ResponseStatus = 'queued' | 'in_progress' | 'completed' | 'incomplete' | 'failed' | 'cancelled';

/** A turn to generate, as the Worker hands it over: checked, not yet tokenized. */
export interface BeginRequest {
  /** `resp_` + session + turn; see ids.ts. */
  id: string;
  /** The earlier response this one goes on from. */
  previous?: string;
  /** The turn that a conversation begins with: this one goes on from its last, and becomes that. `previous` is not given then. */
  conversation?: string;
  tenant: string;
  model: string;
  /** This turn's input, as the API shows it again (`/input_items`). */
  input: readonly Item[];
  /** Without messages of earlier turns. Null: the turn is items alone. */
  request: TurnRequest | null;
  echo: Echo | null;
  priority: number;
  /** The client's; drawn here when it gave none. */
  seed?: readonly [lo: number, hi: number];
}

/** What the replica needs to start a generation, or to go on with it where another one stopped. */
export interface RunOrder {
  response: string;
  /** Id of the session's object (`idFromString`). */
  session: string;
  /** The name the scheduler has for this replica. */
  replica: string;
  tenant: string;
  epoch: number;
  model: string;
  request: TurnRequest;
  /** Input and output items of the conversation before this turn, oldest first. */
  history: readonly Item[];
  input: readonly Item[];
  /** Fixed before the first token. */
  seed: readonly [lo: number, hi: number];
  /** Empty until the first replica tokenized the prompt; then the same for every later one. */
  prompt: readonly number[];
  generated: readonly number[];
}

/**
 * One line of the replica's answer to a RunOrder (NDJSON). `start` once, before any token; then one line a step; `end` last.
 * `text[i]` is what token `from + i` added to the visible text, '' when it added nothing, with the token's log-probabilities where they were asked for.
 */
export type RunLine =
  | { type: 'start'; prompt: number[]; cachedTokens: number; fingerprint: string; route?: RouteReport }
  | { type: 'tokens'; from: number; ids: number[]; text: Piece[] }
  | {
      type: 'end';
      finish: 'stop' | 'length';
      tail: string;
      output: readonly OutputItem[];
      timings?: Timings;
      cost?: Cost;
      notEnforced?: readonly string[];
    }
  | { type: 'error'; status: number; error: TurnError };

/** What one token added to the text; with what is told of its probability. */
export type Piece = string | readonly [text: string, logprob: unknown];

export const textOf = (piece: Piece): string => (typeof piece === 'string' ? piece : piece[0]);

/** Tokens generated since the last commit. */
export interface Commit {
  response: string;
  epoch: number;
  /** Index of the first of them. */
  from: number;
  ids: readonly number[];
  text: readonly Piece[];
}

/** `stale`: another lease has taken over, stop. `gap`: tokens before `from` are missing, send from `committed`. */
export type CommitAnswer = { ok: true; committed: number } | { ok: false; why: 'stale' | 'gap' | 'unknown'; committed: number };

export interface Usage {
  prompt: number;
  cached: number;
  completion: number;
}

/** A turn as it is stored. */
export interface StoredResponse {
  id: string;
  previous: string | null;
  created: number; // s
  /** When it was completed, s; null while it is not, or when it ended otherwise. */
  completed: number | null;
  status: ResponseStatus;
  tenant: string;
  model: string;
  fingerprint: string | null;
  /** The model was another one at the previous turn: everything was computed anew. */
  recomputed: boolean;
  /** Where the prompt was computed (RouteReport), when the request asked to be told. */
  route?: RouteReport;
  /** What the replica that ended the turn took, when the request asked to be told. */
  timings?: Timings;
  /** What it cost, when the request asked to be told. */
  cost?: Cost;
  /** Keywords of its schemas that nothing enforced, where there were such. */
  notEnforced?: readonly string[];
  input: readonly Item[];
  request: TurnRequest | null;
  echo: Echo | null;
  priority: number;
  seed: readonly [number, number];
  epoch: number;
  /** Tokens that were stored when each lease began: more than one entry says how often the turn was taken over. */
  starts: readonly number[];
  finish: string | null;
  /** Text that was held back until the end, after the last token's. */
  tail: string;
  output: readonly OutputItem[];
  error: TurnError | null;
  usage: Usage;
}

/** `refused`: the queue took it at once for full or hopeless, and nothing was stored; `retryAfter` in s. */
export type BeginAnswer =
  | { ok: true }
  | { ok: false; why: 'conversation_not_found' | 'conversation_locked' }
  | { ok: false; why: 'previous_not_found' | 'previous_not_finished' | 'earlier_deleted' | 'exists' | 'too_long' }
  | { ok: false; why: 'refused'; reason: RefusalReason; retryAfter: number };

/** What a reader of a running answer gets, in this order; `seq` counts up from 0 without a gap and depends on the tokens alone. */
export type SessionEvent =
  | { seq: number; index: number; text: string; logprobs?: readonly unknown[] }
  | { end: ResponseStatus; response: StoredResponse };

/** `add`: as one turn of that id. */
export type ConversationOp =
  | { do: 'create'; tenant: string; metadata: Record<string, string>; items: readonly Item[] }
  | { do: 'get' | 'delete' }
  | { do: 'update'; metadata: Record<string, string> }
  | { do: 'add'; id: string; tenant: string; items: readonly Item[] }
  | { do: 'remove'; item: string };

/** `items`: all that it holds, oldest first. */
export type ConversationAnswer =
  | { ok: true; created: number; metadata: Record<string, string>; items: Item[] }
  | { ok: false; why: 'not_found' | 'locked' | 'item_not_found' | 'too_long' };

/** What the Responses API needs of a session, wherever it is kept. */
export interface ResponseKeeper {
  /** `trace`: the `traceparent` of a request that is traced. */
  begin(r: BeginRequest, trace?: string): Promise<BeginAnswer>;
  get(id: string): Promise<{ response: StoredResponse; text: string } | undefined>;
  /** Input of the turn and of all before it, oldest first. */
  inputItems(id: string): Promise<Item[] | undefined>;
  cancel(id: string): Promise<{ response: StoredResponse; text: string } | undefined>;
  remove(id: string): Promise<boolean>;
  /** What `/v1/conversations` asks of the conversation that begins with the turn `root`. */
  converse(root: string, op: ConversationOp): Promise<ConversationAnswer>;
  /** `GET /events?response=&after=`: events as NDJSON, the missed ones first. */
  fetch(url: string): Promise<Response>;
}
