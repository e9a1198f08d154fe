import { expect, it } from 'vitest';
import { Registry, servingMetrics, withLabel } from '../../openai/prometheus.ts';

it('renders counters, gauges and histograms as the text format wants them', () => {
  const r = new Registry({ model_name: 'a"b\\c\nd' });
  const requests = r.counter('x_total', 'Some\nhelp.');
  requests.add(2, { code: '200' });
  requests.add(1, { code: '429' });
  requests.add(1, { code: '200' });
  r.gauge('g', 'G.').set(0.5);
  const h = r.histogram('h_seconds', 'H.', [0.1, 1]);
  for (const v of [0.05, 0.1, 0.5, 3]) h.observe(v);
  const model = 'model_name="a\\"b\\\\c\\nd"';
  expect(r.render()).toBe(
    [
      '# HELP x_total Some\\nhelp.',
      '# TYPE x_total counter',
      `x_total{${model},code="200"} 3`,
      `x_total{${model},code="429"} 1`,
      '# HELP g G.',
      '# TYPE g gauge',
      `g{${model}} 0.5`,
      '# HELP h_seconds H.',
      '# TYPE h_seconds histogram',
      `h_seconds_bucket{${model},le="0.1"} 2`,
      `h_seconds_bucket{${model},le="1"} 3`,
      `h_seconds_bucket{${model},le="+Inf"} 4`,
      `h_seconds_sum{${model}} 3.65`,
      `h_seconds_count{${model}} 4`,
      '',
    ].join('\n'),
  );
});

it('refuses what would make the text invalid or a counter fall', () => {
  const r = new Registry();
  r.gauge('g', '');
  r.gauge('again', '').set(3);
  expect(r.gauge('again', '')).toBe(r.gauge('again', ''));
  expect(() => r.counter('again', '')).toThrow('another kind');
  expect(() => r.gauge('a b', '')).toThrow('a b');
  expect(() => r.counter('c', '').add(-1)).toThrow('lower');
  expect(() => r.histogram('h', '', [1, 1])).toThrow('ascend');
});

it('starts every counter at zero', () => {
  const lines = servingMetrics('m').registry.render().split('\n');
  for (const name of [
    'turnstone_prompt_tokens_total',
    'turnstone_generation_tokens_total',
    'turnstone_num_requests_running',
    'turnstone_prefix_cache_hits_total',
  ]) {
    expect(lines).toContain(`${name}{model_name="m"} 0`);
  }
});

it('pages of several servers become one, each sample with its label, help and type once', () => {
  const page = (n: number, labels: Record<string, string>) => {
    const r = new Registry(labels);
    r.counter('x_total', 'Help.').add(n, n > 1 ? { code: '429' } : {});
    r.gauge('g', 'G.').set(n);
    return r.render();
  };
  const pages = [
    { value: '0', text: page(1, {}) },
    { value: '1', text: page(2, { model_name: 'm' }) },
  ];
  expect(withLabel('replica', pages)).toBe(
    [
      '# HELP x_total Help.',
      '# TYPE x_total counter',
      'x_total{replica="0"} 1',
      'x_total{replica="1",model_name="m",code="429"} 2',
      '# HELP g G.',
      '# TYPE g gauge',
      'g{replica="0"} 1',
      'g{replica="1",model_name="m"} 2',
      '',
    ].join('\n'),
  );
});

it('what is counted is there from the start, at 0: a rate over it begins with the first', () => {
  const text = servingMetrics('m').registry.render();
  for (const reason of ['stop', 'length', 'abort']) {
    expect(text).toContain(`turnstone_request_success_total{model_name="m",finished_reason="${reason}"} 0\n`);
  }
});
