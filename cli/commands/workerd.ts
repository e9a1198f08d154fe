/** `turnstone workerd`: the server as workerd's own configuration, for those who start workerd themselves. */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { serializeConfig } from 'miniflare';
import { faultsIn, readNumber, type SettingName } from '../../policy/settings.ts';
import { build } from '../build.ts';
import { cutPack } from '../cut.ts';
import { findModel } from '../hub/find.ts';
import { localPack, modelPath } from '../packs.ts';
import { mayListen, shownHost } from '../start.ts';
import { serverConfig } from '../workerd/config.ts';
import { workerVars } from './start.ts';

/** Writes `out`/config.bin (with the keys in it, so for its owner alone) and makes `out`/state; prints the command that serves. Settings as for `start`. */
export async function workerdCommand(wanted: string | undefined, out: string, flags: Partial<Record<SettingName, string>>): Promise<void> {
  const env = { ...process.env, ...flags };
  const faults = faultsIn(env);
  if (faults.length > 0) throw new Error(faults.join('\n'));
  const host = env.HOST || '127.0.0.1';
  mayListen(host, env);
  const say = (line: string) => console.error(line);
  const found = await findModel(wanted ?? (env.MODEL || undefined), { memoryMb: readNumber('MEMORY_MB', env) });
  modelPath(found?.path);
  await build(say, ['modules', 'wasm', 'page', 'worker']);
  const pack = await localPack(found?.path, say, env.FORMAT || undefined, found?.id);
  const given = workerVars(env);
  const vars = Object.fromEntries(Object.entries(given).filter((e): e is [string, string] => e[1] !== undefined));
  if (await cutPack(pack, vars, readNumber('STAGES', env), say))
    throw new Error(`${pack.id} needs several isolates, which \`turnstone start\` keeps running: raise MEMORY_MB to have it in one.`);

  const folder = resolve(out);
  const storage = join(folder, 'state/do');
  mkdirSync(storage, { recursive: true, mode: 0o700 });
  chmodSync(folder, 0o700);
  const config = serverConfig({
    vars: { ...(env.API_KEYS || env.PUBLIC === '1' ? {} : { LOCAL_ONLY: '1' }), ...vars },
    pack,
    storage,
    address: `${shownHost(host)}:${readNumber('PORT', env)}`,
    elsewhere: [],
    stages: [],
  });
  const file = join(folder, 'config.bin');
  writeFileSync(file, serializeConfig(config), { mode: 0o600 });
  chmodSync(file, 0o600);
  const { default: workerd } = createRequire(import.meta.url)('workerd') as { default: string };
  console.log(`${workerd} serve --binary --experimental ${file}`);
}
