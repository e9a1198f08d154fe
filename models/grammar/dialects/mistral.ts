import { tag } from '../tags.ts';
import { type Dialect, jsonCall, list } from './dialect.ts';

/** Mistral up to its tokenizer v7: `[TOOL_CALLS] [{"name": "…", "arguments": {…}}, …]`. */
export const mistral: Dialect = {
  open: '[TOOL_CALLS]',
  calls: (net, tools, parallel) =>
    net.seq(net.alt(net.text(' ['), net.text('[')), list(net, jsonCall(net, tools, 'arguments'), net.text(', '), parallel), net.text(']')),
};

/** Mistral from its tokenizer v11 on: `[TOOL_CALLS]name[ARGS]{…}`, one after the other. */
export const mistralArgs: Dialect = {
  open: '[TOOL_CALLS]',
  calls: (net, tools, parallel) => {
    const call = net.alt(...tools.map((t) => net.seq(net.text(t.name), tag(net, '[ARGS]'), net.ruleCall(t.args))));
    return list(net, call, tag(net, '[TOOL_CALLS]'), parallel);
  },
};
