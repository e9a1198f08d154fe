import { type Dialect, jsonCall, list } from './dialect.ts';

/** Granite 3: `<|tool_call|>[{"name": "…", "arguments": {…}}, …]`. */
export const granite: Dialect = {
  open: '<|tool_call|>',
  calls: (net, tools, parallel) =>
    net.seq(net.alt(net.text(' ['), net.text('[')), list(net, jsonCall(net, tools, 'arguments'), net.text(', '), parallel), net.text(']')),
};
