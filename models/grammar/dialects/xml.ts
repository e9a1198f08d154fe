import { SchemaBuilder } from '../build.ts';
import { objectRule } from '../object.ts';
import { rawUntil } from '../syntax.ts';
import { tag } from '../tags.ts';
import { type Dialect, list } from './dialect.ts';

/** Qwen3-Coder: `<tool_call>\n<function=name>\n<parameter=city>\nOslo\n</parameter>\n</function>\n</tool_call>`; what is no text is JSON. */
export const xml: Dialect = {
  open: '<tool_call>',
  args: (b, nodes, raw) => {
    const { net } = b;
    const end = '\n</parameter>';
    const text = new SchemaBuilder(net, b.schema, rawUntil(end));
    return objectRule(b, nodes, {
      open: '',
      comma: '',
      close: '',
      member: (name, value, of) => {
        const key = net.seq(net.text('<parameter='), b.bareName(name), net.text('>\n'));
        const isText = typeof name === 'string' && raw.has(name);
        return net.seq(key, isText ? net.ruleCall(text.rule(of)) : net.seq(value, net.text(end)), net.text('\n'));
      },
    });
  },
  calls: (net, tools, parallel) => {
    const named = net.alt(...tools.map((t) => net.seq(net.text(t.name), net.text('>\n'), net.ruleCall(t.args))));
    const call = net.seq(net.text('\n<function='), named, net.text('</function>\n'), tag(net, '</tool_call>'));
    return list(net, call, net.seq(net.text('\n'), tag(net, '<tool_call>')), parallel);
  },
};
