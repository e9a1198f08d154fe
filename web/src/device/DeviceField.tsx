import { useEffect, useState } from 'preact/hooks';
import type { Device } from './device.ts';
import './device.css';
import type { DeviceState } from './messages.ts';

interface Props {
  device: Device;
  on: boolean;
  onSwitch(on: boolean): void;
}

/** The switch, and what the engine on this device is doing. */
export function DeviceField({ device, on, onSwitch }: Props) {
  const [state, setState] = useState<DeviceState>(device.get());
  useEffect(() => device.subscribe(setState), [device]);
  return (
    <fieldset class="device">
      <legend>Where it runs</legend>
      <label class="check">
        <input type="checkbox" role="switch" aria-checked={on} checked={on} onChange={(event) => onSwitch(event.currentTarget.checked)} />
        <span>Run on this device</span>
      </label>
      <small role="status">{on ? words(state) : 'Off: answers come from the server.'}</small>
      {state.phase === 'loading' && state.total > 0 && <progress max={state.total} value={state.loaded} />}
      {on && (
        <button type="button" class="quiet" onClick={() => void device.remove().then(() => onSwitch(false))}>
          Remove the model from this device
        </button>
      )}
    </fieldset>
  );
}

const mb = (bytes: number) => (bytes / 1e6).toFixed(1);

function words(state: DeviceState): string {
  switch (state.phase) {
    case 'off':
      return 'Not started yet.';
    case 'loading':
      return state.message ?? (state.total ? `Fetching the model: ${mb(state.loaded)} of ${mb(state.total)} MB.` : 'Starting…');
    case 'ready':
      return [
        `${state.engine}.`,
        state.carried ? `${state.carried} tokens of this chat came along from the server.` : '',
        'Nothing leaves this device, and it works without a network.',
      ]
        .filter(Boolean)
        .join(' ');
    case 'failed':
      return state.message;
  }
}
