import type { Constraint } from '../../engine/index.ts';
import {
  type AnswerForm,
  createGrammarCompiler,
  type DialectName,
  dialectOf,
  type Grammar,
  type GrammarCompiler,
  type GrammarConstraint,
  GrammarError,
} from '../../models/grammar/index.ts';
import type { Tokenizer } from '../../models/tokenizer/tokenizer.ts';
import { badRequest } from '../../openai/errors.ts';
import type { ChatRequest, CompletionRequest, ResponseFormat } from '../../openai/requests/types.ts';
import { textParameters } from '../../openai/tools.ts';
import type { Served } from './runtime.ts';
import { afterThinking, type Followed, FREE } from './thinking.ts';

/** Without `strict` a keyword that cannot be enforced is left out instead of refused. */
const lenient = { onUnsupported: () => {} };

const compilers = new WeakMap<Tokenizer, GrammarCompiler>();

/** The model's compiler, made when the first request needs one. */
function compilerOf(served: Served): GrammarCompiler {
  let compiler = compilers.get(served.tokenizer);
  if (!compiler) {
    const { tokenizer: t, stopIds } = served;
    compiler = createGrammarCompiler({
      size: served.config.vocab,
      bytesOf: (id) => t.bytesOf(id),
      stopIds,
      isSpecial: (id) => t.isSpecial(id),
    });
    compilers.set(served.tokenizer, compiler);
  }
  return compiler;
}

/** How the model writes calls, by what its template teaches. */
export const dialectFor = ({ template, tokenizer }: Pick<Served, 'template' | 'tokenizer'>): DialectName =>
  template?.toolCalls ??
  (template ? dialectOf(template.source, template.printsTools, (tag) => tokenizer.idOf(tag) !== undefined) : 'hermes');

type Form = Pick<ChatRequest, 'responseFormat' | 'toolChoice' | 'tools' | 'parallelToolCalls' | 'thinkingBudget'> & { kind?: string };

/** What the form of an answer demands. */
export interface Demand {
  /** Of the tokens after a prompt; absent where the text is free. */
  constraint?: (prompt: readonly number[]) => Constraint;
  /** Keywords of the request's schemas that no mask enforces, where it asks for no `strict`: each as "#pointer keyword". */
  notEnforced: readonly string[];
}

const unenforced = (grammar: Grammar | undefined): readonly string[] => (grammar?.ignored ?? []).map((place) => `#${place}`);

/**
 * What the answer's form demands of every token: a schema, any JSON object, tool calls with valid arguments, or where tools are given
 * and none may be called, text without the beginning of a call. What the model thinks before it answers is free, and bounded where the request says so. A form that comes with tools is what is said instead of a call.
 * Throws 400 naming the schema's part that cannot be enforced, also where that shows only as it is followed.
 */
export function demandOf(served: Served, body: Form): Demand {
  const told = faultOf(body);
  const grammar = told(() => grammarOf(served, body));
  const notEnforced = unenforced(grammar);
  if (!grammar && body.thinkingBudget === undefined) return { notEnforced };
  const begin = () => (grammar ? follow(grammar.start(), told) : FREE);
  return { notEnforced, constraint: (prompt) => afterThinking(served, prompt, begin, body.thinkingBudget) };
}

/** The same of a completion, whose text is the answer from its first token on. */
export function completionDemand(served: Served, body: CompletionRequest): Demand {
  const told = faultOf(body);
  const answer = answerOf(body.responseFormat);
  const grammar = answer && told(() => compilerOf(served).answer(answer));
  return { notEnforced: unenforced(grammar), ...(grammar && { constraint: () => follow(grammar.start(), told) }) };
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
      const { param } = { param: body.kind === 'response' ? 'text.format' : 'response_format', ...body.responseFormat };
      const ofTools = body.responseFormat.type === 'text' || error.pointer.startsWith('/tools');
      throw badRequest(error.message, ofTools ? 'tools' : param, 'unsupported_schema');
    }
  };

export const follow = (c: GrammarConstraint, told: Told): Followed => ({
  mask: () => told(() => c.mask()),
  accept: (id) => told(() => c.accept(id)),
  clone: () => follow(c.clone(), told),
});

/** What is said where no tool is called; undefined: any text. */
function answerOf(format: ResponseFormat): AnswerForm | undefined {
  switch (format.type) {
    case 'json_schema':
      return { schema: format.schema, ...(format.strict ? {} : lenient) };
    case 'json_object':
      return { object: true };
    case 'regex':
      return { regex: format.pattern };
    case 'choice':
      return { choice: format.choices };
    case 'grammar':
      return { gbnf: format.grammar };
    default:
      return undefined;
  }
}

function grammarOf(served: Served, { responseFormat, toolChoice, tools, parallelToolCalls: parallel }: Form): Grammar | undefined {
  const answer = answerOf(responseFormat);
  if (tools.length > 0 && toolChoice.mode !== 'none') {
    const chosen = toolChoice.names ? tools.filter((t) => toolChoice.names?.includes(t.name)) : tools;
    const specs = chosen.map((t) => ({ ...t, texts: textParameters(t.parameters) }));
    // a call of a tool that is named is that call, and no second one
    const single = toolChoice.mode === 'required' && toolChoice.names?.length === 1;
    const options = {
      dialect: dialectFor(served),
      parallel: parallel && !single,
      answer,
      ...(chosen.some((t) => t.strict) ? {} : lenient),
    };
    return compilerOf(served).tools(specs, toolChoice.mode, options);
  }
  if (answer) return compilerOf(served).answer(answer);
  return tools.length > 0 ? compilerOf(served).plainText(dialectFor(served)) : undefined;
}
