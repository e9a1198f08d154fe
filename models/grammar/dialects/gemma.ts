import { ESCAPE_TAGS } from '../syntax.ts';
import { tag } from '../tags.ts';
import { type Dialect, list } from './dialect.ts';

/** FunctionGemma: `<start_function_call>call:name{city:<escape>Oslo<escape>,days:3}<end_function_call>`, one after the other. */
export const gemma: Dialect = {
  open: '<start_function_call>',
  syntax: ESCAPE_TAGS,
  calls: (net, tools, parallel) => {
    const named = net.alt(...tools.map((t) => net.seq(net.text(t.name), net.ruleCall(t.args))));
    const call = net.seq(net.text('call:'), named, tag(net, '<end_function_call>'));
    return list(net, call, tag(net, '<start_function_call>'), parallel);
  },
};
