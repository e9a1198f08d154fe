/** Commands in the README and in docs/: each exists as it is written there, and something runs it, or it is said why nothing here can. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildSync } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ROOT } from '../../cli/build.ts';
import { flagsOfSettings } from '../../cli/settings.ts';
import { SETTING_NAMES } from '../../policy/settings.ts';
import { type Block, blocksOf, PAGES } from '../docs.ts';
import { realModel } from '../shared.ts';

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
  [/turnstone (-- )?workerd/, 'tests/e2e/package.test.ts'],
  [/turnstone -- deploy --dry-run/, 'tests/e2e/deploy-stages.test.ts'],
  [
    /turnstone -- deploy/,
    'needs an account; scripts/try-deploy.ts runs it against one that is a server here, tests/e2e/deploy.test.ts has each of its calls, deploy-stages.test.ts serves from the files it writes',
  ],
  [/turnstone -- pack/, 'tests/models/cli.test.ts'],
  [/turnstone -- stages/, 'tests/e2e/deploy-stages.test.ts'],
  [/^npx wrangler (login|deploy)/, 'needs an account; tests/e2e/deploy.test.ts and deploy-stages.test.ts try each configuration dry'],
  [/^npx tsx bench\/npu\/report/, 'tests/npu/reports.test.ts'],
  [/^npx tsx bench\/skills\/index/, 'writes the table of docs/pebble.md; tests/real/answers.test.ts asks a few of them'],
  [/^pip install|^npm install$|^npm i --no-save webgpu/, 'needs a registry'],
  [/^MODEL=my-pack npm start/, 'tests/e2e/stages-real.test.ts'],
  [/^python -m turnstone.traffic/, 'python/tests/test_traffic.py'],
  [/gpu-host --secret/, 'tests/e2e/gpu-host.test.ts'],
  [/^NPU_URL=/, 'tests/e2e/gpu-host.test.ts'],
  [/npx vitest run/, 'the gate itself'],
  [/^python training\/lora\//, 'needs PyTorch; training/lora/orders-pebble is what it made'],
  [/^docker|docker compose/, 'needs Docker: scripts/image.ts; tests/e2e/package.test.ts does the steps of the image'],
  [/^(install|cp) .*(\/etc\/)/, 'writes to /etc; docs/self-host.md says how the unit was checked'],
];

/** By what any other block is held, by its page and how it begins: programs are run or their types checked, what was printed is printed again. */
const HELD_BY: [page: string, begins: string, by: string][] = [
  ['README.md', 'import turnstone,', 'tests/e2e/package.test.ts'],
  ['README.md', '// wrangler.toml', 'tests/e2e/package.test.ts'],
  ['docs/library.md', "import { openModel } from 'turnstone/engine'", 'tests/e2e/package.test.ts'],
  ['docs/library.md', 'import OpenAI', 'tests/e2e/package.test.ts'],
  ['docs/api.md', 'import OpenAI', 'tests/local/docs.test.ts'],
  ['docs/clients.md', 'import { Ollama }', 'tests/local/docs.test.ts'],
  ['docs/clients.md', 'import OpenAI', 'tests/e2e/clients.test.ts'],
  ['docs/embeddings.md', 'const { data }', 'tests/e2e/embeddings.test.ts'],
  ['docs/embeddings.md', 'own-domain.onnx: ', 'tests/embedder/model.test.ts'],
  ['docs/integrations.md', 'import { Hono }', 'tests/local/docs.test.ts'],
  ['docs/integrations.md', 'import { createOpenAICompatible }', 'tests/local/docs.test.ts'],
  ['docs/integrations.md', 'import { ChatOpenAI }', 'scripts/integrations.ts'],
  ['docs/pytorch.md', 'import turnstone', 'python/tests/test_docs.py'],
  ['docs/pytorch.md', 'compiled = ', 'python/tests/test_docs.py'],
  ['docs/pytorch.md', 'topk: not part', 'python/tests/test_docs.py'],
  ['docs/pytorch.md', 'maia-200, bf16', 'python/tests/test_docs.py'],
  ['docs/pytorch.md', '200 steps', 'training/compare_kernels.py'],
  ['docs/pytorch.md', '2000 requests', 'python/turnstone/traffic.py'],
  ['docs/pytorch.md', 'registerOp(', 'python/tests/test_outside.py'],
  ['docs/pytorch.md', 'device_op(', 'python/tests/test_docs.py'],
  ['docs/stages.md', 'stage ', 'tests/cli/docs.test.ts'],
];

/** The commands of a page's shell blocks: without remarks, continued lines as one. */
function commandsOf(page: string): string[] {
  return blocksOf(page).flatMap(({ language, text }) =>
    language !== 'sh'
      ? []
      : text
          .replaceAll('\\\n', ' ')
          .split('\n')
          .map((line) => line.replace(/\s+#\s.*$/, '').trim())
          .filter(Boolean),
  );
}
const commands = PAGES.flatMap((page) => commandsOf(page).map((command) => ({ page, command })));

// the command line in one file: it starts in a quarter of the time that compiling it at each start takes
const folder = mkdtempSync(join(tmpdir(), 'turnstone-docs-'));
beforeAll(() => {
  buildSync({
    ...{ entryPoints: [join(ROOT, 'cli/index.ts')], outdir: join(folder, 'bin'), bundle: true, splitting: true },
    ...{ format: 'esm', platform: 'node', target: 'node20', packages: 'external' },
  });
  copyFileSync(join(ROOT, 'package.json'), join(folder, 'package.json'));
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const help = new Map<string, string>();
function helpOf(command: string): string {
  const known = help.get(command);
  if (known !== undefined) return known;
  const text = execFileSync(process.execPath, [join(folder, 'bin/index.js'), command, '--help'], { encoding: 'utf8' });
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

describe('blocks in the docs', () => {
  const blocks = PAGES.flatMap(blocksOf).filter(({ language }) => language !== 'sh');
  const heldBy = ({ page, text }: Block) => HELD_BY.filter(([of, begins]) => of === page && text.startsWith(begins));

  it('are fenced, with their language', () => {
    const indented = PAGES.filter((page) =>
      /\n\n {4}\S/.test(readFileSync(join(ROOT, page), 'utf8').replaceAll(/^ *```.*?^ *```$/gms, '')),
    );
    expect(indented).toEqual([]);
    expect(blocks.filter(({ language }) => !['ts', 'python', 'text', 'yaml', 'json', 'toml'].includes(language))).toEqual([]);
  });

  it.each(blocks.map((block) => [`${block.page}:${block.line}`, block] as const))('%s', (_, block) => {
    const [held] = heldBy(block);
    expect(held, `what runs "${block.text.split('\n')[0]}" of ${block.page}? Say so in HELD_BY`).toBeDefined();
    expect(existsSync(join(ROOT, held[2])), held[2]).toBe(true);
  });

  it('are all that is said to be held, by tests that read the page', () => {
    expect(HELD_BY.filter(([of, begins]) => !blocks.some(({ page, text }) => page === of && text.startsWith(begins)))).toEqual([]);
    const readers = HELD_BY.filter(([, , by]) => /^tests|\/tests\//.test(by));
    expect(
      readers.filter(([page, , by]) => !readFileSync(join(ROOT, by), 'utf8').includes(page.split('/').at(-1)!.replace('.md', ''))),
    ).toEqual([]);
  });

  const qwen = realModel('Qwen2.5-Coder-0.5B-Instruct.Q4_K_M.gguf');
  it.skipIf(qwen.missing)(`stages.md shows what the command prints${qwen.missing ? ` (skipped: ${qwen.why})` : ''}`, () => {
    const printed = execFileSync(process.execPath, ['--import', 'tsx', join(ROOT, 'cli/index.ts'), 'stages', qwen.path], {
      encoding: 'utf8',
    });
    const table = blocksOf('docs/stages.md').find(({ language }) => language === 'text');
    expect(printed.replaceAll(/^ {2}/gm, '')).toContain(table?.text);
  });
});

describe('commands in the docs', () => {
  it('are found', () => expect(commands.length).toBeGreaterThan(30));

  it.each(commands)('$page: $command', ({ page, command }) => {
    const by = RUN_BY.find(([form]) => form.test(command))?.[1];
    expect(by, `what runs "${command}" of ${page}? Say so in RUN_BY`).toBeDefined();
    if (by?.startsWith('tests/')) expect(existsSync(join(ROOT, by)), by).toBe(true);
    if (command.includes('npx vitest')) return; // variables of the tests, which are no settings
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
