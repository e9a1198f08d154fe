import { startGpuHost } from '../gpu-host.ts';

export interface GpuHostFlags {
  model?: string;
  port: number;
  host: string;
  secret?: string;
}

/** Serves until Ctrl-C. */
export async function gpuHostCommand(o: GpuHostFlags): Promise<void> {
  if (!Number.isInteger(o.port) || o.port < 0 || o.port > 65_535) throw new Error(`--port must be an integer in 0..65535`);
  const host = await startGpuHost({ ...o, secret: o.secret ?? process.env.GPU_SECRET, say: (line) => console.log(line) });
  console.log(`Turnstone serves at ${host.url}/v1 on ${host.adapter}. Ctrl-C stops it.`);
  process.once('SIGINT', () => void host.stop().finally(() => process.exit(0)));
}
