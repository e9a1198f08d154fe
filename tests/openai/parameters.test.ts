import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT } from '../../cli/build.ts';
import { PARAMETERS_PAGE, parametersPage } from '../../cli/parameters.ts';
import { ApiError } from '../../openai/errors.ts';
import { parseChat } from '../../openai/requests/chat.ts';
import { parseCompletion } from '../../openai/requests/completion.ts';
import { chatParameters, completionParameters, responsesParameters } from '../../openai/requests/parameters.ts';
import { parseResponses } from '../../openai/requests/responses.ts';
import { missing, properties } from './schema.ts';

const routes = [
  [
    'CreateChatCompletionRequest',
    chatParameters,
    (extra: object) => parseChat({ model: 'm', messages: [{ role: 'user', content: 'x' }], ...extra }),
  ],
  ['CreateCompletionRequest', completionParameters, (extra: object) => parseCompletion({ model: 'm', prompt: 'x', ...extra })],
  ['CreateResponse', responsesParameters, (extra: object) => parseResponses({ model: 'm', input: 'x', ...extra })],
] as const;

describe.each(routes)('%s', (schema, parameters, parse) => {
  it.skipIf(missing !== null)(`every parameter of OpenAI's has a verdict${missing ? ` (skipped: ${missing})` : ''}`, () => {
    const names = properties(schema);
    expect(names.length).toBeGreaterThan(15);
    expect(names.filter((name) => !Object.hasOwn(parameters, name))).toEqual([]);
  });

  it('refuses each refused parameter by name, with a reason, unless its value asks for nothing', () => {
    const refused = Object.entries(parameters).flatMap(([name, p]) => (p !== 'read' && p.use === 'refused' ? [{ name, p }] : []));
    expect(refused.length).toBeGreaterThan(0);
    for (const { name, p } of refused) {
      expect(() => parse({ [name]: { some: 'value' } })).toThrow(ApiError);
      expect(() => parse({ [name]: { some: 'value' } })).toThrow(`Unsupported parameter: '${name}'. ${p.why}`);
      expect(() => parse({ [name]: null })).not.toThrow();
      for (const value of p.neutral ?? []) expect(() => parse({ [name]: value })).not.toThrow();
    }
  });

  it('ignores each harmless parameter: the request is the same without it', () => {
    for (const [name, p] of Object.entries(parameters)) {
      if (p !== 'read' && p.use === 'ignored') expect(parse({ [name]: { some: 'value' } })).toEqual(parse({}));
    }
  });

  it('refuses names that nobody knows, those of every object too', () => {
    for (const name of ['temprature', 'toString', 'constructor']) {
      expect(() => parse({ [name]: 1 })).toThrow(`Unknown parameter: '${name}'.`);
    }
  });
});

it('docs/parameters.md has them: npx tsx cli/parameters-write.ts writes it', () => {
  expect(readFileSync(join(ROOT, PARAMETERS_PAGE), 'utf8')).toBe(parametersPage());
});
