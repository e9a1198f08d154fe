/** One page to look at a run: what it took, its roofline, its timeline. No script, no links out. */
import type { DeviceSpec } from '../device/spec.ts';
import type { Launch } from '../run/machine.ts';
import { summarize } from './summary.ts';
import { rooflineSvg, timelineSvg } from './svg.ts';

const percent = (v: number): string => `${(100 * v).toFixed(1)} %`;
const MB = (n: number): string => `${(n / 1e6).toFixed(1)} MB`;
const entities = (s: string): string => s.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

export function reportHtml(d: DeviceSpec, launches: readonly Launch[], title: string, chips = 1): string {
  const s = summarize(d, launches, chips);
  const rows = (o: Readonly<Record<string, number>>, show: (v: number) => string): string =>
    Object.entries(o)
      .map(([k, v]) => `<tr><th>${entities(k)}</th><td>${show(v)}</td></tr>`)
      .join('');
  const perLayer = launches.slice(0, Math.min(launches.length, 16)).reduce((n, l) => n + l.us, 0);
  return `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${entities(title)}</title>
<style>body{font:15px/1.5 system-ui,sans-serif;max-width:1000px;margin:2rem auto;padding:0 1rem;color:#111;background:#fff}
table{border-collapse:collapse;display:inline-table;vertical-align:top;margin:0 2.5rem 1rem 0}th{text-align:left;font-weight:400;padding-right:1.5rem;color:#444}td{text-align:right;font-variant-numeric:tabular-nums}
caption{text-align:left;font-weight:600}svg{max-width:100%;height:auto}</style>
<h1>${entities(title)}</h1>
<p>${entities(d.summary)}. ${chips > 1 ? `${chips} chips, column parallel.` : 'One chip.'} ${s.launches} launches, <b>${(s.us / 1000).toFixed(3)} ms</b> of device time,
${s.roofline.tops.toFixed(1)} of ${s.roofline.peakTops.toFixed(1)} TOP/s a chip, ${percent(s.roofline.reached)} of what the roofline allows (${s.roofline.bound} bound).</p>
<table><caption>Time by part</caption>${rows(s.parts, (v) => `${(v / 1000).toFixed(3)} ms`)}</table>
<table><caption>Busy</caption>${rows(s.busy, percent)}</table>
<table><caption>Moved</caption>${rows(s.bytes, MB)}</table>
${rooflineSvg(d, launches)}
${timelineSvg(d, launches, { toUs: perLayer, title: `${d.name}: the first launches, four tiles` })}
</html>
`;
}
