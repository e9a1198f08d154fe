/** The catalogue as docs/models.md shows it. */
import { CATALOGUE } from './names.ts';

const MARKS = ['<!-- catalogue: npx tsx cli/hub/catalogue-write.ts -->', '<!-- /catalogue -->'] as const;

function catalogueTable(): string {
  const rows = Object.entries(CATALOGUE).map(
    ([name, { repo, pick, parameters, licence, oneIsolate, about }]) =>
      `| ${[`\`${name}\``, `[${repo}](https://huggingface.co/${repo}), \`${pick}\``, parameters, licence, oneIsolate ? 'yes' : 'no', about].join(' | ')} |`,
  );
  const head = '| name | at the hub | parameters | licence | fits one isolate (128 MB) | good for |';
  return [head, '| --- | --- | --- | --- | --- | --- |', ...rows].join('\n');
}

/** The page with the table anew. Throws when the marks are not there. */
export function withCatalogue(page: string): string {
  const [from, to] = [page.indexOf(MARKS[0]), page.indexOf(MARKS[1])];
  if (from < 0 || to < from) throw new Error(`the page has no ${MARKS.join(' and ')}`);
  return `${page.slice(0, from + MARKS[0].length)}\n${catalogueTable()}\n${page.slice(to)}`;
}
