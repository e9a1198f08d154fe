/** Collectives between chips that all reach each other. Times in µs. */
import type { DeviceSpec } from '../device/spec.ts';

const wireUs = (d: DeviceSpec, bytes: number): number => bytes / (d.links.GBps * 1000 * d.links.efficiency);

/** Every chip ends with all `bytes`, of which it had its own share: it receives the others'. */
export const allGatherUs = (d: DeviceSpec, chips: number, bytes: number): number =>
  chips < 2 ? 0 : d.links.startUs + d.links.latencyUs + wireUs(d, (bytes * (chips - 1)) / chips);

/** Every chip ends with the sum of its share of `bytes`. Sums change their order: timed only. */
export const reduceScatterUs = (d: DeviceSpec, chips: number, bytes: number): number => allGatherUs(d, chips, bytes);
