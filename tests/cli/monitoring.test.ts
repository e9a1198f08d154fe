/** What self-host/monitoring has for Prometheus and Grafana, read by Prometheus' own tool: rules, configuration, and the queries of the dashboard. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { ROOT } from '../../cli/build.ts';

const folder = join(ROOT, 'self-host/monitoring');
const made = mkdtempSync(join(tmpdir(), 'turnstone-monitoring-'));
afterAll(() => rmSync(made, { recursive: true, force: true }));

const promtool = (...args: string[]): string => execFileSync(process.env.PROMTOOL ?? 'promtool', args, { encoding: 'utf8' });
function found(): boolean {
  try {
    promtool('--version');
    return true;
  } catch {
    return false;
  }
}
const there = found();
const named = (what: string) => (there ? what : `${what} (skipped: promtool is not on this machine; PROMTOOL says where it is)`);

it.skipIf(!there)(named('promtool takes the alert rules and the configuration'), () => {
  expect(promtool('check', 'rules', join(folder, 'alerts.yml'))).toMatch(/SUCCESS: \d+ rules found/);
  expect(promtool('check', 'config', join(folder, 'prometheus.yml'))).toContain('is valid prometheus config file syntax');
});

it.skipIf(!there)(named('promtool takes every query of the dashboard'), () => {
  const { panels } = JSON.parse(readFileSync(join(folder, 'grafana.json'), 'utf8')) as { panels: { targets: { expr: string }[] }[] };
  const queries = panels.flatMap((p) => p.targets.map((t) => t.expr.replaceAll('$__rate_interval', '1m').replaceAll('$model', '.*')));
  expect(queries.length).toBeGreaterThan(10);
  const rules = queries.map((expr, i) => ({ record: `panel:${i}`, expr }));
  const file = join(made, 'panels.json'); // JSON is YAML
  writeFileSync(file, JSON.stringify({ groups: [{ name: 'panels', rules }] }));
  expect(promtool('check', 'rules', file)).toContain(`SUCCESS: ${rules.length} rules found`);
});
