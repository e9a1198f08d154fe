import { type Dialect, jsonCall, list } from './dialect.ts';

/** Llama 3: `{"name": "…", "parameters": {…}}` as the whole answer, also after `<|python_tag|>`; several with `; ` between them. */
export const llama: Dialect = {
  alsoOpen: ['<|python_tag|>'],
  calls: (net, tools, parallel) => list(net, jsonCall(net, tools, 'parameters'), net.text('; '), parallel),
};
