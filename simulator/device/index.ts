/** The devices that are shipped, checked when first asked for. */
import edgeNpu from './edge-npu.json' with { type: 'json' };
import maia100 from './maia-100.json' with { type: 'json' };
import maia200 from './maia-200.json' with { type: 'json' };
import { checkDevice, type DeviceSpec } from './spec.ts';

export { checkDevice, type DeviceSpec, peakTops, type TensorType, tilesOf } from './spec.ts';

const shipped: Readonly<Record<string, unknown>> = { 'maia-100': maia100, 'maia-200': maia200, 'edge-npu': edgeNpu };

export const deviceNames: readonly string[] = Object.keys(shipped);

/** The shipped device of this name. Throws with the names there are. */
export function device(name: string): DeviceSpec {
  if (!Object.hasOwn(shipped, name)) throw new Error(`no device ${JSON.stringify(name)}, have ${deviceNames.join(', ')}`);
  return checkDevice(shipped[name]);
}
