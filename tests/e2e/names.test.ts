/** `npm start -- NAME`: from nothing to an answer of a model that a hub holds; the second time without the hub. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { ROOT } from '../../cli/build.ts';
import { CATALOGUE } from '../../cli/hub/names.ts';
import { type HubServer, hubServer } from '../hub/server.ts';
import { type Launcher, launch } from './launcher.ts';
import { missing } from './server.ts';

const PEBBLE = join(ROOT, 'models/pebble/hf');
const SMOLLM2 = join(process.env.TURNSTONE_MODELS ?? join(homedir(), '.cache/turnstone-models'), CATALOGUE.smollm2.pick);
const noSmollm2 = existsSync(SMOLLM2) ? '' : ` (skipped: ${CATALOGUE.smollm2.pick} is not on this machine)`;

describe.skipIf(missing)('a model by name', () => {
  const folder = mkdtempSync(join(tmpdir(), 'turnstone-names-'));
  const hubs: HubServer[] = [];
  const servers: Launcher[] = [];
  afterAll(async () => {
    for (const s of servers) await s.remove();
    for (const h of hubs) await h.close();
    rmSync(folder, { recursive: true, force: true });
  });
  const start = async (name: string, vars: Record<string, string>) => {
    const command = [process.execPath, '--import', 'tsx', join(ROOT, 'cli/index.ts'), 'start', name, '--npu', '0'];
    const s = await launch({ EMBEDDER: '0', TURNSTONE_CACHE: folder, ...vars }, command);
    servers.push(s);
    return s;
  };
  const ask = async (s: Launcher, model: string) => {
    const body = { model, max_tokens: 12, temperature: 0, messages: [{ role: 'user', content: 'What is the capital of France?' }] };
    const r = await fetch(`${s.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    expect(r.status, await r.clone().text()).toBe(200);
    return ((await r.json()) as { choices: { message: { content: string } }[] }).choices[0].message.content;
  };

  it('is brought, packed and served; then it is here, and no hub is asked', async () => {
    const files = Object.fromEntries(readdirSync(PEBBLE).map((f) => [f, new Uint8Array(readFileSync(join(PEBBLE, f)))]));
    const hub = await hubServer({ 'org/pebble': { files } });
    hubs.push(hub);
    const first = await start('hf:org/pebble', { HF_ENDPOINT: hub.url });
    expect(first.said()).toContain('licence: apache-2.0');
    const models = (await (await fetch(`${first.url}/v1/models`)).json()) as { data: { id: string }[] };
    const text = await ask(first, models.data[0].id);
    expect(text.length).toBeGreaterThan(0);
    await first.remove();
    const asked = hub.log.length;
    const again = await start('hf:org/pebble', { HF_ENDPOINT: 'http://127.0.0.1:1' });
    expect(await ask(again, models.data[0].id)).toBe(text);
    expect(hub.log.length).toBe(asked);
    await again.remove();
  });

  it('that nobody has is told with the names there are', async () => {
    await expect(start('smolm2', {})).rejects.toThrow(/no such file or folder, and no model of that name. Names: smollm2/);
    await expect(start('hf:org/pebbles', { HF_ENDPOINT: hubs[0].url })).rejects.toThrow('no repository org/pebbles');
  });

  it.skipIf(noSmollm2)(`smollm2, from nothing to its first answer${noSmollm2}`, async () => {
    const hub = await hubServer({
      [CATALOGUE.smollm2.repo]: { files: { [CATALOGUE.smollm2.pick]: new Uint8Array(readFileSync(SMOLLM2)) } },
    });
    hubs.push(hub);
    const s = await start('smollm2', { HF_ENDPOINT: hub.url });
    const ready = /ready in ([\d.]+) s/.exec(s.said())![1];
    expect(await ask(s, 'smollm2')).toContain('Paris');
    console.log(`smollm2: pulled from this machine, packed and ready in ${ready} s`);
  });
});
