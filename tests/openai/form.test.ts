import { describe, expect, it } from 'vitest';
import { parseChat } from '../../openai/requests/chat.ts';
import { parseCompletion } from '../../openai/requests/completion.ts';
import { parseResponses } from '../../openai/requests/responses.ts';

const chat = (extra: object) => parseChat({ model: 'm', messages: [{ role: 'user', content: 'x' }], ...extra });
const schema = { type: 'object', properties: {} };
const json = (param: string, strict: boolean) => ({ type: 'json_schema', name: 'answer', schema, strict, param });

describe("the answer's form", () => {
  it.each([
    ['guided_json', schema, json('guided_json', true)],
    ['guided_json', JSON.stringify(schema), json('guided_json', true)],
    ['json_schema', schema, json('json_schema', false)],
    ['guided_regex', 'a+', { type: 'regex', pattern: 'a+', param: 'guided_regex' }],
    ['regex', 'a+', { type: 'regex', pattern: 'a+', param: 'regex' }],
    ['guided_choice', ['a', ''], { type: 'choice', choices: ['a', ''], param: 'guided_choice' }],
    ['guided_grammar', 'root ::= "a"', { type: 'grammar', grammar: 'root ::= "a"', param: 'guided_grammar' }],
    ['grammar', 'root ::= "a"', { type: 'grammar', grammar: 'root ::= "a"', param: 'grammar' }],
    ['ebnf', 'root ::= "a"', { type: 'grammar', grammar: 'root ::= "a"', param: 'ebnf' }],
    ['structured_outputs', { json: schema, disable_any_whitespace: true }, json('structured_outputs.json', true)],
    ['structured_outputs', { choice: ['a'], regex: null }, { type: 'choice', choices: ['a'], param: 'structured_outputs.choice' }],
    ['structured_outputs', { json_object: true }, { type: 'json_object' }],
    ['response_format', { type: 'json_object', schema }, { type: 'json_schema', name: 'answer', schema, strict: false }],
    ['response_format', { type: 'json_schema', schema }, { type: 'json_schema', name: 'answer', schema, strict: false }],
  ])('%s %j', (name, value, form) => {
    expect(chat({ [name]: value }).responseFormat).toEqual(form);
    expect(parseCompletion({ model: 'm', prompt: 'x', [name]: value }).responseFormat).toEqual(form);
    if (name === 'response_format') return;
    const response = parseResponses({ model: 'm', input: 'x', [name]: value });
    expect(response.responseFormat).toEqual(form);
    expect(response.echo.text).toMatchObject({ format: { type: form.type === 'json_object' ? form.type : 'text' } });
  });

  it.each([
    [{ guided_json: 'no json' }, "'guided_json'"],
    [{ guided_json: 5 }, "'guided_json'"],
    [{ guided_regex: '' }, "'guided_regex'"],
    [{ guided_choice: [] }, "'guided_choice'"],
    [{ guided_choice: [1] }, "'guided_choice[0]'"],
    [{ guided_choice: ['a'], guided_regex: 'a' }, 'send one of them'],
    [{ response_format: { type: 'json_object' }, grammar: 'root ::= "a"' }, "'response_format' and 'grammar'"],
    [{ structured_outputs: { structural_tag: {} } }, "'structured_outputs'"],
    [{ structured_outputs: { toString: 'a' } }, "'structured_outputs'"],
    [{ structured_outputs: { regex: 'a', choice: ['b'] } }, 'send one of them'],
  ])('%j is refused', (extra, message) => expect(() => chat(extra)).toThrow(message));
});
