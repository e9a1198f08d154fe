/** Commands in the README and in docs/: each exists as it is written there, and something runs it, or it is said why nothing here can. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT } from '../../cli/build.ts';
import { flagsOfSettings } from '../../cli/settings.ts';
import { SETTING_NAMES } from '../../policy/settings.ts';

const PAGES = ['README.md', ...readdirSync(join(ROOT, 'docs')).flatMap((f) => (f.endsWith('.md') ? [`docs/${f}`] : []))];

/** By what a command is run: the first that fits. Paths are tests; anything else is why no test here can. */
const RUN_BY: [RegExp, string][] = [
  [/^npm start$/, 'tests/e2e/launcher.test.ts'],
  [/^npm start -- smollm2$/, 'tests/e2e/names.test.ts'],
  [/^npm test$/, 'the gate itself'],
  [/^npm run build$/, 'tests/build.ts'],
  [/^npm pack$/, 'tests/e2e/package.test.ts'],
  [/^npm install --global/, 'writes to the whole machine; tests/e2e/package.test.ts unpacks the same file'],
  [/^curl .*\/admin\/models\/adapters/, 'tests/e2e/models.test.ts'],
  [/^curl .*\/v1\/(embeddings|rerank|score)/, 'tests/e2e/embeddings.test.ts'],
  [/^curl .*\/v1\/chat/, 'tests/e2e/clients.test.ts'],
  [/^(\w+=\S+ )*npm start -- (hf:Qwen|\S*my-model|qwen2.5-coder)/, 'tests/e2e/stages-real.test.ts'],
  [/^npm start -- \S*tuned/, 'tests/models/lora.test.ts'],
  [/^npm start -- .*--adapter/, 'tests/engine/adapters.test.ts'],
  [/^EMBED_MODEL=/, 'tests/e2e/embeddings.test.ts'],
  [/^(\S+=\S+ )*turnstone start/, 'tests/e2e/package.test.ts'],
  [/^python training\/lora/, 'PyTorch for minutes; the adapter that it made is in training/lora/orders-pebble'],
  [/^npx tsx bench\/skills\/adapter/, 'needs PyTorch’s adapter; tests/e2e/stages.test.ts serves the one of this repository'],
  [/turnstone -- (run|bench)/, 'tests/e2e/run.test.ts'],
  [/turnstone -- verify/, 'tests/cli/command-line.test.ts'],
  [/turnstone -- (list|show|rm|pull)/, 'tests/hub/pull.test.ts'],
  [/turnstone -- inspect/, 'tests/models/cli.test.ts'],
  [/turnstone -- --help/, 'tests/cli/command-line.test.ts'],
  [/turnstone -- init/, 'tests/e2e/package.test.ts'],
  [/turnstone -- deploy --dry-run/, 'tests/e2e/deploy-stages.test.ts'],
  [
    /turnstone -- deploy/,
    'needs an account; tests/e2e/deploy.test.ts has each of its calls, deploy-stages.test.ts serves from the files it writes',
  ],
  [/turnstone -- pack/, 'tests/models/cli.test.ts'],
  [/turnstone -- stages/, 'tests/e2e/deploy-stages.test.ts'],
  [/^npx wrangler (login|deploy)/, 'needs an account; tests/e2e/deploy.test.ts and deploy-stages.test.ts try each configuration dry'],
  [/^python training\/lora\//, 'needs PyTorch; training/lora/orders-pebble is what it made'],
  [/^docker|docker compose/, 'needs Docker; tests/e2e/package.test.ts does the steps of the image'],
  [/^(install|cp) .*(\/etc\/)/, 'writes to /etc; docs/self-host.md says how the unit was checked'],
];

/** The commands of a page's shell blocks: without remarks, continued lines as one. */
function commandsOf(page: string): string[] {
  return [...readFileSync(join(ROOT, page), 'utf8').matchAll(/^```sh\n(.*?)^```/gms)].flatMap(([, block]) =>
    block
      .replaceAll('\\\n', ' ')
      .split('\n')
      .map((line) => line.replace(/\s+#\s.*$/, '').trim())
      .filter(Boolean),
  );
}
const commands = PAGES.flatMap((page) => commandsOf(page).map((command) => ({ page, command })));

const help = new Map<string, string>();
function helpOf(command: string): string {
  const known = help.get(command);
  if (known !== undefined) return known;
  const text = execFileSync(process.execPath, ['--import', 'tsx', join(ROOT, 'cli/index.ts'), command, '--help'], { encoding: 'utf8' });
  help.set(command, text);
  return text;
}

describe('the docs', () => {
  const text = (page: string) => readFileSync(join(ROOT, page), 'utf8');

  it('have an index of all pages', () => {
    const index = text('docs/README.md');
    const without = PAGES.filter((page) => page.startsWith('docs/') && page !== 'docs/README.md').filter(
      (page) =>
        !index.includes(`(${page.slice('docs/'.length)}`) && !PAGES.some((p) => p !== page && text(p).includes(`${page.split('/')[1]})`)),
    );
    expect(without).toEqual([]);
    for (const page of [
      'models',
      'settings',
      'api',
      'clients',
      'deploy',
      'self-host',
      'stages',
      'sessions',
      'performance',
      'limits',
      'troubleshooting',
      'when-not',
    ])
      expect(index).toContain(`(${page}.md)`);
  });

  it('link to files and headings that there are', () => {
    const slug = (heading: string) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-');
    const wrong = [...PAGES, 'SECURITY.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'ARCHITECTURE.md'].flatMap((page) =>
      [...text(page).matchAll(/\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)/g)].flatMap(([, path, heading]) => {
        const target = path ? join(page, '..', path) : page;
        if (!existsSync(join(ROOT, target))) return [`${page}: ${path}`];
        if (!heading || !target.endsWith('.md')) return [];
        const there = [...text(target).matchAll(/^#+ (.*)$/gm)].some(([, h]) => slug(h) === heading);
        return there ? [] : [`${page}: ${path}#${heading}`];
      }),
    );
    expect(wrong).toEqual([]);
  });
});

describe('commands in the docs', () => {
  it('are found', () => expect(commands.length).toBeGreaterThan(30));

  it.each(commands)('$page: $command', ({ page, command }) => {
    const by = RUN_BY.find(([form]) => form.test(command))?.[1];
    expect(by, `what runs "${command}" of ${page}? Say so in RUN_BY`).toBeDefined();
    if (by?.startsWith('tests/')) expect(existsSync(join(ROOT, by)), by).toBe(true);
    for (const [, name] of command.matchAll(/\b([A-Z][A-Z_]+)=/g)) expect(SETTING_NAMES, name).toContain(name);
    const [, start, called] = /(?:npm (start)|turnstone(?: --)? ([a-z][a-z-]+))/.exec(command) ?? [];
    const words =
      command
        .split(/ -- | turnstone /)
        .at(-1)
        ?.split(/\s+/) ?? [];
    const flags = words.filter((word) => /^--[a-z]/.test(word) && word !== '--help');
    const name = start ? 'start' : called;
    if (!name || command.startsWith('docker')) return;
    const settings = flagsOfSettings().map(({ flag }) => `--${flag}`);
    for (const flag of flags) expect(name === 'start' && settings.includes(flag) ? flag : helpOf(name), command).toContain(flag);
    if (flags.length === 0 && called) expect(helpOf(called), command).toContain(`turnstone ${called}`);
  });
});
