import type { Constraint } from '../../engine/index.ts';
import { createGrammarCompiler, type Grammar, type GrammarCompiler, GrammarError } from '../../models/grammar/index.ts';
import { badRequest } from '../../openai/errors.ts';
import type { ChatRequest } from '../../openai/requests/types.ts';
import type { Served } from './model.ts';

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

/**
 * What the answer's form demands of every token: a schema, any JSON object, or tool calls that name a given tool with valid
 * arguments. Undefined when the text is free. Throws 400 naming the schema's part that cannot be enforced.
 */
export function constraintOf(
  served: Served,
  body: Pick<ChatRequest, 'responseFormat' | 'toolChoice' | 'tools' | 'parallelToolCalls'>,
): (() => Constraint) | undefined {
  const { responseFormat: format, toolChoice, tools } = body;
  try {
    let grammar: Grammar | undefined;
    if (format.type === 'json_schema') grammar = compilerOf(served).jsonSchema(format.schema, format.strict ? {} : lenient);
    else if (format.type === 'json_object') grammar = compilerOf(served).jsonObject();
    else if (tools.length > 0 && toolChoice.mode !== 'none') {
      const chosen = toolChoice.names ? tools.filter((t) => toolChoice.names?.includes(t.name)) : tools;
      grammar = compilerOf(served).tools(chosen, toolChoice.mode, {
        parallel: body.parallelToolCalls,
        ...(chosen.some((t) => t.strict) ? {} : lenient),
      });
    }
    return grammar && (() => grammar.start());
  } catch (error) {
    if (!(error instanceof GrammarError)) throw error;
    throw badRequest(error.message, format.type === 'json_schema' ? 'response_format' : 'tools', 'unsupported_schema');
  }
}
