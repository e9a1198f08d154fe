/** docs/parameters.md: what becomes of every parameter, from the tables that the requests are checked by. */
import { BODIES } from '../openai/openapi/document.ts';
import type { Parameter } from '../openai/requests/parameters.ts';

export const PARAMETERS_PAGE = 'docs/parameters.md';

const cell = (text: string): string => text.replaceAll('|', '\\|');

function verdict(p: Parameter): string {
  if (p === 'read') return 'used';
  if (p.use === 'ignored') return `accepted, changes nothing: ${p.why}`;
  const neutral = p.neutral?.length ? `; ${p.neutral.map((v) => `\`${JSON.stringify(v)}\``).join(', ')} may be sent` : '';
  return `refused: ${p.why}${neutral}`;
}

export function parametersPage(): string {
  const tables = Object.entries(BODIES).map(([route, { parameters }]) => {
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
\`GET /openapi.json\` has the same with what each may be.

${tables.join('\n')}`;
}
