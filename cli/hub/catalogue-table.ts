/** The catalogue as docs/models.md shows it. */
import { size } from '../table.ts';
import { CATALOGUE } from './names.ts';

const MARKS = ['<!-- catalogue: npx tsx cli/hub/catalogue-write.ts -->', '<!-- /catalogue -->'] as const;

function catalogueTable(): string {
  const rows = Object.entries(CATALOGUE).map(([name, e]) => {
    const { repo, revision = 'main', pick, sha256, parameters, bytes, licence } = e;
    const file = `[${repo}](https://huggingface.co/${repo}) at ${revision}, \`${pick}\`${sha256 ? `, SHA-256 ${sha256.slice(0, 12)}…` : ''}`;
    const { perplexity, decode, of } = e.measured ?? {};
    const measured = [perplexity && `perplexity ${perplexity}`, decode && `${decode} tokens/s`].filter(Boolean).join(', ');
    const cells = [
      `\`${name}\``,
      file,
      parameters,
      bytes ? size(bytes) : '',
      licence,
      `${e.isolates}, ${e.context.toLocaleString('en-US')}`,
    ];
    return `| ${[...cells, measured + (of ? ` (${of})` : ''), e.about].join(' | ')} |`;
  });
  const head = ['name', 'at the hub', 'parameters', 'size', 'licence', 'isolates of 128 MB, context there', 'measured', 'good for'];
  return [`| ${head.join(' | ')} |`, `|${' --- |'.repeat(head.length)}`, ...rows].join('\n');
}

/** The page with the table anew. Throws when the marks are not there. */
export function withCatalogue(page: string): string {
  const [from, to] = [page.indexOf(MARKS[0]), page.indexOf(MARKS[1])];
  if (from < 0 || to < from) throw new Error(`the page has no ${MARKS.join(' and ')}`);
  return `${page.slice(0, from + MARKS[0].length)}\n${catalogueTable()}\n${page.slice(to)}`;
}
