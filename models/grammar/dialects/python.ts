import { objectRule } from '../object.ts';
import { PYTHON } from '../syntax.ts';
import { tag } from '../tags.ts';
import { type Dialect, list } from './dialect.ts';

/** LFM2: a list of Python's calls, `<|tool_call_start|>[name(city="Oslo", days=3)]<|tool_call_end|>`. */
export const python: Dialect = {
  open: '<|tool_call_start|>',
  syntax: PYTHON,
  args: (b, nodes) =>
    objectRule(b, nodes, {
      open: '(',
      comma: ', ',
      close: ')',
      member: (name, value) => b.net.seq(b.bareName(name), b.net.text('='), value),
    }),
  calls: (net, tools, parallel) => {
    const call = net.alt(...tools.map((t) => net.seq(net.text(t.name), net.ruleCall(t.args))));
    return net.seq(net.text('['), list(net, call, net.text(', '), parallel), net.text(']'), tag(net, '<|tool_call_end|>'));
  },
};
