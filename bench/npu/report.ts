/**
 * A prefill of a model's shape on a device, to look at: page, roofline, timeline, and a trace for ui.perfetto.dev.
 *
 *   npx tsx bench/npu/report.ts [model] [device] [prompt] [w4|w8|bf16|fp8] [chips] [folder]
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { device } from '../../simulator/device/index.ts';
import { reportHtml } from '../../simulator/report/html.ts';
import { rooflineSvg, timelineSvg } from '../../simulator/report/svg.ts';
import { chromeTrace } from '../../simulator/report/trace.ts';
import { modelShapes } from '../../simulator/shapes.ts';
import { type Numbers, simulate } from '../../simulator/simulate.ts';

const [model = 'smollm2-135m', name = 'maia-200', prompt = '1024', numbers = 'w4', chips = '1', folder = '.cache/npu'] =
  process.argv.slice(2);
const d = device(name);
if (!modelShapes[model]) throw new Error(`no model ${model}, have ${Object.keys(modelShapes).join(', ')}`);
const s = simulate({
  device: d,
  model: modelShapes[model],
  prompt: Number(prompt),
  numbers: numbers as Numbers,
  timelines: true,
  options: { chips: Number(chips) },
});
const title = `${model} ${numbers}, ${prompt} tokens on ${name}`;
mkdirSync(folder, { recursive: true });
const first = s.launched.slice(0, 12).reduce((n, l) => n + l.us, 0);
writeFileSync(`${folder}/report.html`, reportHtml(d, s.launched, title, Number(chips)));
writeFileSync(`${folder}/roofline.svg`, rooflineSvg(d, s.launched, `${title}: roofline`));
writeFileSync(
  `${folder}/timeline.svg`,
  timelineSvg(d, s.launched, { toUs: first, title: `${title}: the first layers, four of the tiles` }),
);
writeFileSync(`${folder}/trace.json`, chromeTrace(s.launched.slice(0, 40), { cyclesPerUs: d.clockGHz * 1000, opUs: d.launch.opUs }));
console.log(
  `${title}: ${(s.us / 1000).toFixed(3)} ms of device time; report.html, roofline.svg, timeline.svg and trace.json are in ${folder}`,
);
