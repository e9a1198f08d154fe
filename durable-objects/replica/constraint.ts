import type { Constraint } from '../../engine/index.ts';
import {
  createGrammarCompiler,
  type DialectName,
  dialectOf,
  type Grammar,
  type GrammarCompiler,
  type GrammarConstraint,
  GrammarError,
} from '../../models/grammar/index.ts';
import { badRequest } from '../../openai/errors.ts';
import type { ChatRequest } from '../../openai/requests/types.ts';
import { textParameters } from '../../openai/tools.ts';
import type { Served } from './model.ts';
import { afterThinking, type Followed } from './thinking.ts';

/** Without `strict` a keyword that cannot be enforced is left out instead of refused. */
const lenient = { onUnsupported: () => {} };

const compilers = new WeakMap<Served, GrammarCompiler>();

/** The model's compiler, made when the first request needs one. */
function compilerOf(served: Served): GrammarCompiler {
  let compiler = compilers.get(served);
  if (!compiler) {
    const { tokenizer: t, stopIds } = served;
    compiler = createGrammarCompiler({
      size: served.config.vocab,
      bytesOf: (id) => t.bytesOf(id),
      stopIds,
      isSpecial: (id) => t.isSpecial(id),
    });
    compilers.set(served, compiler);
  }
  return compiler;
}

/** How the model writes calls, by what its template teaches. */
export const dialectFor = ({ template, tokenizer }: Pick<Served, 'template' | 'tokenizer'>): DialectName =>
  template?.toolCalls ??
  (template ? dialectOf(template.source, template.printsTools, (tag) => tokenizer.idOf(tag) !== undefined) : 'hermes');

type Form = Pick<ChatRequest, 'responseFormat' | 'toolChoice' | 'tools' | 'parallelToolCalls'> & { kind?: string };

/**
 * What the answer's form demands of every token: a schema, any JSON object, tool calls with valid arguments, or where tools are given
 * and none may be called, text without the beginning of a call. What the model thinks before it answers is free. A form that comes with tools is what is said instead of a call.
 * Undefined when the text is free. Throws 400 naming the schema's part that cannot be enforced, also where that shows only as it is
 * followed.
 */
export function constraintOf(served: Served, body: Form): ((prompt: readonly number[]) => Constraint) | undefined {
  const told = faultOf(body);
  const grammar = told(() => grammarOf(served, body));
  return grammar && ((prompt) => afterThinking(served, prompt, () => follow(grammar.start(), told)));
}

type Told = <T>(what: () => T) => T;

/** Makes a grammar's fault the request's. */
export const faultOf =
  (body: Pick<Form, 'responseFormat' | 'kind'>): Told =>
  (what) => {
    try {
      return what();
    } catch (error) {
      if (!(error instanceof GrammarError)) throw error;
      const format = body.kind === 'response' ? 'text.format' : 'response_format';
      const ofTools = body.responseFormat.type === 'text' || error.pointer.startsWith('/tools');
      throw badRequest(error.message, ofTools ? 'tools' : format, 'unsupported_schema');
    }
  };

export const follow = (c: GrammarConstraint, told: Told): Followed => ({
  mask: () => told(() => c.mask()),
  accept: (id) => told(() => c.accept(id)),
  clone: () => follow(c.clone(), told),
});

function grammarOf(served: Served, { responseFormat: format, toolChoice, tools, parallelToolCalls: parallel }: Form): Grammar | undefined {
  if (tools.length > 0 && toolChoice.mode !== 'none') {
    const chosen = toolChoice.names ? tools.filter((t) => toolChoice.names?.includes(t.name)) : tools;
    const answer = format.type === 'json_schema' ? { schema: format.schema, ...(format.strict ? {} : lenient) } : undefined;
    const specs = chosen.map((t) => ({ ...t, texts: textParameters(t.parameters) }));
    return compilerOf(served).tools(specs, toolChoice.mode, {
      dialect: dialectFor(served),
      parallel,
      answer: format.type === 'json_object' ? 'object' : answer,
      ...(chosen.some((t) => t.strict) ? {} : lenient),
    });
  }
  if (format.type === 'json_schema') return compilerOf(served).jsonSchema(format.schema, format.strict ? {} : lenient);
  if (format.type === 'json_object') return compilerOf(served).jsonObject();
  return tools.length > 0 ? compilerOf(served).plainText(dialectFor(served)) : undefined;
}
