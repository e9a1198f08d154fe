import type { Constraint } from '../../engine/index.ts';
import type { ChatRequest } from '../../openai/requests/types.ts';
import type { Served } from './model.ts';

/** What the answer's form demands: JSON, a schema, a tool call. */
export function constraintOf(_served: Served, _body: ChatRequest): Constraint | undefined {
  return undefined;
}
