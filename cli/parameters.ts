/** docs/parameters.md: what becomes of every parameter, from the tables that the requests are checked by. */
import { messagesParameters } from '../openai/requests/anthropic.ts';
import {
  compactParameters,
  conversationItemsParameters,
  conversationParameters,
  conversationUpdateParameters,
  inputTokensParameters,
} from '../openai/requests/conversations.ts';
import { embeddingsParameters } from '../openai/requests/embeddings.ts';
import {
  chatParameters,
  completionParameters,
  type Parameter,
  type Parameters,
  responsesParameters,
} from '../openai/requests/parameters.ts';
import { detokenizeParameters, templateParameters, tokenizeParameters } from '../openai/requests/tokenize.ts';

export const PARAMETERS_PAGE = 'docs/parameters.md';

const ROUTES: Readonly<Record<string, Parameters>> = {
  '/v1/chat/completions': chatParameters,
  '/v1/completions': completionParameters,
  '/v1/responses': responsesParameters,
  '/v1/responses/input_tokens': inputTokensParameters,
  '/v1/responses/compact': compactParameters,
  '/v1/conversations': conversationParameters,
  '/v1/conversations/{id}': conversationUpdateParameters,
  '/v1/conversations/{id}/items': conversationItemsParameters,
  '/v1/messages': messagesParameters,
  '/v1/embeddings': embeddingsParameters,
  '/v1/tokenize': tokenizeParameters,
  '/v1/apply-template': templateParameters,
  '/v1/detokenize': detokenizeParameters,
};

const cell = (text: string): string => text.replaceAll('|', '\\|');

function verdict(p: Parameter): string {
  if (p === 'read') return 'used';
  if (p.use === 'ignored') return `accepted, changes nothing: ${p.why}`;
  const neutral = p.neutral?.length ? `; ${p.neutral.map((v) => `\`${JSON.stringify(v)}\``).join(', ')} may be sent` : '';
  return `refused: ${p.why}${neutral}`;
}

export function parametersPage(): string {
  const tables = Object.entries(ROUTES).map(([route, parameters]) => {
    const rows = Object.entries(parameters).sort(([a], [b]) => (a < b ? -1 : 1));
    return [
      `## POST ${route}`,
      '',
      '| parameter | |',
      '| --- | --- |',
      ...rows.map(([name, p]) => `| \`${name}\` | ${cell(verdict(p))} |`),
      '',
    ].join('\n');
  });
  return `# Parameters

Written by \`npx tsx cli/parameters-write.ts\` from the tables that requests are checked by. A name that is in no table is refused, and so is one that would
change the answer in a way that this server cannot honour (400, by name): nothing is dropped in silence. \`null\` asks for nothing.

${tables.join('\n')}`;
}
