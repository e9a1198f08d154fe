import { Environment, Interpreter } from '@huggingface/jinja';

type Value = ReturnType<Interpreter['evaluate']>;
type Node = NonNullable<Parameters<Interpreter['evaluate']>[0]>;
/** A node as the parser makes it; its fields depend on its type. */
// biome-ignore lint/suspicious/noExplicitAny: the library does not export its syntax tree's types
type Any = any;

const toValue = (value: unknown): Value => new Environment().set('value', value) as Value;
/** Keys that may turn out undefined. */
const COMPUTED = new Set(['Identifier', 'MemberExpression', 'CallExpression']);
const STRIPS = ['strip', 'lstrip', 'rstrip'];
/** What filters make of an undefined value, which prints as nothing and has no items. */
const OF_NOTHING: Readonly<Record<string, unknown>> = { list: [], items: [], sort: [], unique: [], reverse: [], length: 0, count: 0 };
const TEXT_FILTERS = new Set(['trim', 'lower', 'upper', 'title', 'capitalize', 'string', 'join', 'replace', 'indent', 'safe']);

/**
 * The library's interpreter where it differs from Jinja2 in what real chat templates do (tests/models/templates.test.ts): `strip` and
 * its kin with an argument, `dict(…)`, filters, tests and loops over what is undefined, loops over a text, look-ups by an undefined key, and `string` of
 * what is no text, which is Python's repr.
 */
export class JinjaInterpreter extends Interpreter {
  override evaluate(node: Node | undefined, env: Environment): Value {
    const n = node as Any;
    switch (n?.type) {
      case 'FilterExpression':
        return this.#filter(n, env);
      case 'For':
        return this.#loop(n, env);
      case 'CallExpression':
        if (n.callee.type === 'Identifier' && n.callee.value === 'dict') return super.evaluate(literalOf(n.args) as Any, env);
        return this.#strip(n, env) ?? super.evaluate(n, env);
      case 'TestExpression':
        if (n.test.value === 'iterable' && this.evaluate(n.operand, env).type === 'UndefinedValue') return toValue(!n.negate);
        break;
      case 'MemberExpression': {
        if (!n.computed || !COMPUTED.has(n.property.type)) break;
        const key = this.evaluate(n.property, env);
        return key.type === 'UndefinedValue' ? key : super.evaluate({ ...n, property: given(key) }, given.scope(env, key));
      }
    }
    return super.evaluate(node, env);
  }

  #filter(n: Any, env: Environment): Value {
    const name: string = n.filter.type === 'CallExpression' ? n.filter.callee.value : n.filter.value;
    const operand = this.evaluate(n.operand, env);
    if (name === 'string')
      return operand.type === 'StringValue' ? operand : toValue(operand.type === 'UndefinedValue' ? '' : python(operand));
    if (operand.type === 'UndefinedValue') {
      if (Object.hasOwn(OF_NOTHING, name)) return toValue(OF_NOTHING[name]);
      if (TEXT_FILTERS.has(name)) return toValue('');
      if (/attr$|^map$|^select$|^reject$/.test(name)) return toValue([]);
    }
    if (operand.type === 'StringValue' && name === 'selectattr') return toValue([]); // characters have no attributes
    return super.evaluate({ ...n, operand: given(operand) }, given.scope(env, operand));
  }

  #loop(n: Any, env: Environment): Value {
    const select = n.iterable.type === 'SelectExpression';
    let items = this.evaluate(select ? n.iterable.lhs : n.iterable, env);
    if (items.type === 'UndefinedValue') items = toValue([]);
    else if (items.type === 'StringValue') items = toValue([...(items.value as string)]);
    const iterable = select ? { ...n.iterable, lhs: given(items) } : given(items);
    return super.evaluate({ ...n, iterable }, given.scope(env, items));
  }

  /** `text.strip(characters)`; undefined where it is no such call. */
  #strip(n: Any, env: Environment): Value | undefined {
    const { callee, args } = n;
    if (callee.type !== 'MemberExpression' || callee.computed || !STRIPS.includes(callee.property.value) || args.length !== 1)
      return undefined;
    const text = this.evaluate(callee.object, env);
    const given = this.evaluate(args[0], env);
    if (text.type !== 'StringValue' || given.type !== 'StringValue') return undefined;
    const set = new Set(given.value as string);
    const chars = [...(text.value as string)];
    let from = 0;
    let to = chars.length;
    if (callee.property.value !== 'rstrip') while (from < to && set.has(chars[from])) from++;
    if (callee.property.value !== 'lstrip') while (to > from && set.has(chars[to - 1])) to--;
    return toValue(chars.slice(from, to).join(''));
  }
}

/** `dict(a=1)` as `{'a': 1}`. */
const literalOf = (args: readonly Any[]) => ({
  type: 'ObjectLiteral',
  value: new Map(
    args.filter((a) => a.type === 'KeywordArgumentExpression').map((a) => [{ type: 'StringLiteral', value: a.key.value }, a.value]),
  ),
});

const GIVEN = ' given'; // no name that a template can have

/** A value that is already there, as an expression, and the scope in which it is found. */
const given = Object.assign((_: Value) => ({ type: 'Identifier', value: GIVEN }), {
  scope(env: Environment, value: Value): Environment {
    const scope = new Environment(env);
    scope.setVariable(GIVEN, value);
    return scope;
  },
});

/** Python's repr of a value, at the top its str. */
function python(v: Value): string {
  const value = v.value as unknown;
  switch (v.type) {
    case 'StringValue':
      return quoted(value as string);
    case 'BooleanValue':
      return value ? 'True' : 'False';
    case 'NullValue':
    case 'UndefinedValue':
      return 'None';
    case 'ArrayValue':
      return `[${(value as Value[]).map(python).join(', ')}]`;
    case 'TupleValue':
      return `(${(value as Value[]).map(python).join(', ')}${(value as Value[]).length === 1 ? ',' : ''})`;
    case 'ObjectValue':
      return `{${[...(value as Map<string, Value>)].map(([k, x]) => `${quoted(k)}: ${python(x)}`).join(', ')}}`;
    default:
      return v.toString();
  }
}

const ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' };

function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const hex = (c: string, n: number) => (c.codePointAt(0) as number).toString(16).padStart(n, '0');
  const body = text.replace(/[\\\n\r\t]|\p{C}|\p{Zl}|\p{Zp}|(?! )\p{Zs}/gu, (c) => {
    if (ESCAPES[c]) return ESCAPES[c];
    const point = c.codePointAt(0) as number;
    return point < 0x100 ? `\\x${hex(c, 2)}` : point < 0x10000 ? `\\u${hex(c, 4)}` : `\\U${hex(c, 8)}`;
  });
  return quote + (quote === "'" ? body.replaceAll("'", "\\'") : body) + quote;
}
