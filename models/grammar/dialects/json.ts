import { type Dialect, jsonCall, list } from './dialect.ts';

/** `{"name": "…", "arguments": {…}}` as the whole answer, one a line: of models whose template names no tags. */
export const json: Dialect = {
  calls: (net, tools, parallel) => list(net, jsonCall(net, tools, 'arguments'), net.text('\n'), parallel),
};
