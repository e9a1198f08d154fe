import { tag } from '../tags.ts';
import { type Dialect, jsonCall, list } from './dialect.ts';

/** Hermes and Qwen: `<tool_call>\n{"name": "…", "arguments": {…}}\n</tool_call>`, one a line. */
export const hermes: Dialect = {
  open: '<tool_call>',
  calls: (net, tools, parallel) => {
    const call = net.seq(net.text('\n'), jsonCall(net, tools, 'arguments'), net.text('\n'), tag(net, '</tool_call>'));
    return list(net, call, net.seq(net.text('\n'), tag(net, '<tool_call>')), parallel);
  },
};
