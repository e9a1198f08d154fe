import { useEffect, useRef } from 'preact/hooks';
import { modelOf } from '../chat.ts';
import { DeviceField } from '../device/DeviceField.tsx';
import type { Device } from '../device/device.ts';
import { curlOf, requestOf } from '../request.ts';
import { DEFAULTS, type Settings as Values } from '../settings.ts';
import type { State } from '../state.ts';
import { CopyButton } from './CopyButton.tsx';
import { NumberField, ThemeField, ToolsField } from './fields.tsx';
import { Icon } from './Icon.tsx';
import { KeyField } from './KeyField.tsx';

interface Props {
  open: boolean;
  state: State;
  apiKey: string;
  onChange(settings: Partial<Values>): void;
  onTools(tools: string): void;
  onKey(key: string): void;
  device: Device;
  onDevice(on: boolean): void;
  onClose(): void;
}

/** The panel at the side. Everything takes effect at the next message; an empty field is the server's default. */
export function Settings({ open, state, apiKey, onChange, onTools, onKey, device, onDevice, onClose }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (open) dialog.current?.showModal();
    else dialog.current?.close();
  }, [open]);

  const { settings, models } = state;
  const model = modelOf(state);
  const context = models.find(({ id }) => id === model)?.context;
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: Escape closes a dialog by itself
    <dialog
      ref={dialog}
      class="settings"
      aria-labelledby="settings-title"
      onClose={onClose}
      onClick={(event) => event.target === dialog.current && onClose()}
    >
      <div class="sheet">
        <header>
          <h2 id="settings-title">Settings</h2>
          <button type="button" class="quiet" aria-label="Close settings" title="Close (Esc)" onClick={onClose}>
            <Icon name="close" />
          </button>
        </header>

        <label>
          Model
          <select value={model} disabled={models.length < 2} onChange={(event) => onChange({ model: event.currentTarget.value })}>
            {models.length === 0 && <option>{model ?? 'not known yet'}</option>}
            {models.map(({ id }) => (
              <option key={id} value={id}>
                {id}
              </option>
            ))}
          </select>
          {context && <small>{context.toLocaleString('en')} tokens of context</small>}
        </label>

        <label>
          System prompt
          <textarea
            rows={3}
            value={settings.system}
            placeholder="You are…"
            onInput={(event) => onChange({ system: event.currentTarget.value })}
          />
        </label>

        <fieldset class="grid">
          <legend>Sampling</legend>
          <NumberField name="temperature" label="Temperature" value={settings.temperature} onChange={onChange} />
          <NumberField name="topP" label="Top p" value={settings.topP} onChange={onChange} />
          <NumberField name="maxTokens" label="Max tokens" value={settings.maxTokens} onChange={onChange} />
          <NumberField name="seed" label="Seed" value={settings.seed} onChange={onChange} />
        </fieldset>

        <DeviceField device={device} on={settings.device} onSwitch={onDevice} />
        <ToolsField value={state.tools} onTools={onTools} />
        <ThemeField value={settings.theme} onChange={onChange} />
        <KeyField key={apiKey} initial={apiKey} onKey={onKey} />

        <footer class="ways">
          <a class="quiet" href="/npu">
            Accelerator
          </a>
          <CopyButton text={() => curl(state)} label="Copy this conversation as a curl command" words="Copy as curl" />
          <button
            type="button"
            class="quiet"
            onClick={() => onChange({ ...DEFAULTS, theme: settings.theme, model: settings.model, device: settings.device })}
          >
            Reset
          </button>
        </footer>
      </div>
    </dialog>
  );
}

/** The request that asked for the last answer, or a first one. */
function curl(state: State): string {
  const last = state.turns.findLastIndex((turn) => turn.role === 'assistant');
  const turns = last > 0 ? state.turns.slice(0, last) : [{ id: 1, role: 'user' as const, text: 'Hello!' }];
  const keyed = typeof state.server === 'object' && state.server.next === 'key';
  try {
    return curlOf(requestOf({ turns, tools: state.tools }, state.settings, modelOf(state)), location.origin, keyed);
  } catch {
    return curlOf(requestOf({ turns, tools: '' }, state.settings, modelOf(state)), location.origin, keyed);
  }
}
