import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { PAGES, settingsHelp, settingsTable, withTable } from '../../cli/settings.ts';
import { policyConfig } from '../../durable-objects/scheduler/config.ts';
import { ASKED } from '../../models/quantize/convert.ts';
import { POLICY } from '../../policy/config.ts';
import { Queue } from '../../policy/queue.ts';
import { faultsIn, misspelt, parseSetting, readNumber, SETTING_NAMES, SETTINGS } from '../../policy/settings.ts';
import { deviceNames } from '../../simulator/device/index.ts';

describe('settings', () => {
  it.each([
    ['MAX_QUEUE', '-3', 'MAX_QUEUE is "-3", must be an integer in 0..100000'],
    ['RATE_PER_MINUTE', 'abc', 'RATE_PER_MINUTE is "abc", must be a number in 0..1000000'],
    ['PORT', '80.5', 'PORT is "80.5", must be an integer in 0..65535'],
    ['CONTEXT', 'Infinity', 'CONTEXT is "Infinity", must be an integer in 16..1048576'],
    ['LEASE_S', 'NaN', 'LEASE_S is "NaN", must be a number in 0.1..3600'],
    ['KV', 'f16', 'KV is "f16", must be i8, i8v4 or f32'],
    ['PUBLIC', 'yes', 'PUBLIC is "yes", must be 0 or 1'],
    ['NPU_DEVICE', 'h100', 'NPU_DEVICE is "h100", must be maia-200, maia-100 or edge-npu'],
    ['CORS_ORIGINS', 'https://a.example/, https://b.example', /^CORS_ORIGINS is .*must be origins such as https/],
    ['NPU_URL', 'ftp://x', 'NPU_URL is "ftp://x", must be an origin such as http://127.0.0.1:8790'],
    ['API_KEYS', ' ', 'API_KEYS is set but holds no key; give it one, or unset it'],
    ['ADMIN_KEY', 'short', 'ADMIN_KEY must have 8 characters or more'], // and is not quoted
  ] as const)('%s=%j is told with what it may be', (name, value, told) => {
    expect(() => parseSetting(name, value)).toThrow(told);
    expect(faultsIn({ [name]: value })).toHaveLength(1);
  });

  it('that are blank are as if they were not set, except keys', () => {
    for (const name of SETTING_NAMES) {
      if (name === 'API_KEYS' || name === 'ADMIN_KEY') expect(faultsIn({ [name]: '' }), name).toHaveLength(1);
      else expect(parseSetting(name, ''), name).toBeUndefined();
    }
    expect(readNumber('MAX_QUEUE', { MAX_QUEUE: '' })).toBe(512);
    expect(readNumber('CONTEXT', {})).toBeUndefined();
  });

  it('bound the slots of a replica that has said nothing yet', () => {
    const admitted = (vars: Record<string, string>) => {
      const queue = new Queue(policyConfig(vars), ['0']);
      const arrive = (id: string) =>
        queue.arrive({ id, tenant: 'a', priority: 0, promptTokens: 4, chain: [], restart: false }, 0, () => {});
      for (let i = 0; i < 20; i++) arrive(String(i));
      return queue.dispatch(0, () => 0).length;
    };
    expect(admitted({ MAX_BATCH: '2' })).toBe(2);
    expect(admitted({})).toBe(POLICY.slots);
  });

  it('are what the policy has when they are not set', () => {
    expect([readNumber('MAX_QUEUE', {}), readNumber('MAX_WAIT_S', {}) * 1000, readNumber('LEASE_S', {}) * 1000]).toEqual([
      POLICY.maxQueue,
      POLICY.maxWaitMs,
      POLICY.leaseMs,
    ]);
  });

  it('name the formats and devices that there are', () => {
    expect([...SETTINGS.FORMAT.of].sort()).toEqual([...ASKED].sort());
    expect([...SETTINGS.NPU_DEVICE.of].sort()).toEqual([...deviceNames].sort());
  });

  it('are recognised misspelt, and other names are left alone', () => {
    const meant = (name: string) => misspelt([name])[0]?.meant;
    expect(['MODLE', 'PROCESES', 'API_KEY', 'PROT', 'MAX_QEUE', 'MEMORY_MBS', 'RATE_PER_MINTUE'].map(meant)).toEqual([
      ...(['MODEL', 'PROCESSES', 'API_KEYS', 'PORT', 'MAX_QUEUE', 'MEMORY_MB', 'RATE_PER_MINUTE'] as const),
    ]);
    const usual =
      'PATH HOME USER SHELL TERM LANG PWD OLDPWD EDITOR PAGER MODE CPU GPU NPM HOSTNAME HOSTTYPE POST SORT DISPLAY TMPDIR COLORTERM';
    expect(usual.split(' ').filter((name) => meant(name) !== undefined)).toEqual([]);
    expect(misspelt(['MODEL', 'model', 'npm_config_port'])).toEqual([]);
  });

  it.each(Object.entries(PAGES))('in %s are these: npx tsx cli/settings-write.ts writes them', (page, names) => {
    const written = readFileSync(new URL(`../../${page}`, import.meta.url), 'utf8');
    expect(written).toBe(withTable(written, settingsTable(names)));
  });

  it('are all in --help', () => {
    for (const name of SETTING_NAMES) expect(settingsHelp()).toMatch(new RegExp(`^ {2}${name} +\\S.*\\)$`, 'm'));
  });
});
