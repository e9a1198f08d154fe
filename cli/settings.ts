/** The settings as they are shown: in --help, in the README and in docs/settings.md. */
import { Option } from 'commander';
import { SETTING_NAMES, SETTINGS, type Setting, type SettingName } from '../policy/settings.ts';

const WIDTH = Math.max(...SETTING_NAMES.map((n) => n.length));

/** Of a number: its value when unset, as it is told. */
function unset(s: Setting): string {
  if (s.kind === 'choice') return s.otherwise;
  return s.shown ?? (s.kind === 'number' ? String(s.otherwise) : 'none');
}

const values = (s: Setting): string => (s.kind === 'choice' ? `${s.of.slice(0, -1).join(', ')} or ${s.of.at(-1)}: ` : '');
/** `0` and `1` say themselves what they are. */
const told = (s: Setting): string => (s.kind === 'choice' && s.of.length === 2 && s.of.includes('0') ? s.help : values(s) + s.help);

/** For --help. */
export const settingsHelp = (): string =>
  SETTING_NAMES.map((name) => `  ${name.padEnd(WIDTH)}  ${told(SETTINGS[name])} (${unset(SETTINGS[name])})`).join('\n');

const flagOf = (name: SettingName) => name.toLowerCase().replaceAll('_', '-');

/** Each setting as a flag; a secret is none, as a command line is everybody's to read. Their list stands once in --help, as variables. */
export const settingFlags = (): Option[] =>
  SETTING_NAMES.filter((name) => !(SETTINGS[name] as Setting).secret).map((name) => new Option(`--${flagOf(name)} <value>`).hideHelp());

/** The same for a shell's completion. */
export const flagsOfSettings = (): { flag: string; help: string; values: readonly string[] }[] =>
  SETTING_NAMES.filter((name) => !(SETTINGS[name] as Setting).secret).map((name) => {
    const s: Setting = SETTINGS[name];
    return { flag: flagOf(name), help: s.help, values: s.kind === 'choice' ? s.of : [] };
  });

/** Flags that were given, as variables. */
export const settingsOf = (flags: Readonly<Record<string, string>>): Partial<Record<SettingName, string>> =>
  Object.fromEntries(
    SETTING_NAMES.flatMap((name) => {
      const value = flags[flagOf(name).replace(/-(\w)/g, (_, c: string) => c.toUpperCase())];
      return value === undefined ? [] : [[name, value]];
    }),
  );

/** A Markdown table. */
export function settingsTable(names: readonly SettingName[]): string {
  const rows = names.map((name) => {
    const s: Setting = SETTINGS[name];
    const range = s.kind === 'number' ? ` ${s.lo} to ${s.hi}.` : '';
    return `| \`${name}\` | ${told(s)}.${range} | ${unset(s)} |`;
  });
  return ['| variable | meaning | when unset |', '| --- | --- | --- |', ...rows].join('\n');
}

export const mainSettings = SETTING_NAMES.filter((name) => (SETTINGS[name] as Setting).main);

/** What stands between the marks in README.md and docs/settings.md. */
export const MARKS = ['<!-- settings: npx tsx cli/settings-write.ts -->', '<!-- /settings -->'] as const;

/** A page with the table anew. Throws when the marks are not there. */
export function withTable(page: string, table: string): string {
  const [from, to] = [page.indexOf(MARKS[0]), page.indexOf(MARKS[1])];
  if (from < 0 || to < from) throw new Error(`the page has no ${MARKS.join(' and ')}`);
  return `${page.slice(0, from + MARKS[0].length)}\n${table}\n${page.slice(to)}`;
}

/** Pages and what their tables hold. */
export const PAGES: Record<string, readonly SettingName[]> = { 'README.md': mainSettings, 'docs/settings.md': SETTING_NAMES };
