import { useEffect, useRef } from 'preact/hooks';
import { modelOf } from '../chat.ts';
import { DeviceField } from '../device/DeviceField.tsx';
import type { Device } from '../device/device.ts';
import type { Page } from '../page.ts';
import { curlOf, requestOf } from '../request.ts';
import { DEFAULTS, type Settings as Values } from '../settings.ts';
import type { Chat, State } from '../state.ts';
import type { ModelCard } from '../transport.ts';
import type { Turn } from '../turns.ts';
import { CopyButton } from './CopyButton.tsx';
import { CheckField, PresetField, SamplingFields, SchemaField, ThemeField, ToolsField } from './fields.tsx';
import { Icon } from './Icon.tsx';
import { KeyField } from './KeyField.tsx';
import { ModelField } from './ModelField.tsx';
import { MoreModels } from './MoreModels.tsx';

interface Props {
  open: boolean;
  state: State;
  page: Page;
  card: ModelCard | undefined;
  apiKey: string;
  onChange(settings: Partial<Values>): void;
  onChat(change: Partial<Chat>): void;
  onKey(key: string): void;
  device: Device;
  onDevice(on: boolean): void;
  onLook(): void;
  onHelp(): void;
  onClose(): void;
}

/** The panel at the side. Everything takes effect at the next message; an empty field is the server's default. */
export function Settings({ open, state, page, card, apiKey, onChange, onChat, onKey, device, onDevice, onLook, onHelp, onClose }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (open) dialog.current?.showModal();
    else dialog.current?.close();
  }, [open]);

  const { settings, chat } = state;
  const { theme, model, device: here, presets } = settings;
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

        <ModelField state={state} card={card} onChange={onChange} />
        {!here && <MoreModels open={open} onBrought={onLook} />}

        <label>
          System prompt of this chat
          <textarea
            rows={3}
            value={chat.system}
            placeholder="You are…"
            onInput={(event) => onChat({ system: event.currentTarget.value })}
          />
        </label>
        {chat.system !== settings.system && (
          <p class="ways">
            <button type="button" class="quiet" onClick={() => onChange({ system: chat.system })}>
              {chat.system ? 'Begin new chats with it too' : 'Begin new chats without one too'}
            </button>
          </p>
        )}

        <SamplingFields {...{ settings, card, onChange }} />
        <PresetField
          {...{ settings, onChange }}
          system={chat.system}
          onUse={(preset) => {
            onChat({ system: preset.system });
            onChange(preset.sampling);
          }}
        />
        <ToolsField value={chat.tools} onInput={(tools) => onChat({ tools })} />
        <SchemaField value={chat.schema} onInput={(schema) => onChat({ schema })} />

        <DeviceField device={device} on={settings.device} onSwitch={onDevice} />
        <fieldset class="checks">
          <legend>Answers</legend>
          <CheckField
            label="Go on without this page"
            words="The server keeps the answer: it survives a reload, a lost connection and a restart. Deleting the chat deletes it there."
            value={settings.keep}
            onChange={(keep) => onChange({ keep })}
          />
          <CheckField
            label="Stop when an answer repeats itself"
            words="This page ends it and says so; it can be continued. The API never does this."
            value={settings.stopLoops}
            onChange={(stopLoops) => onChange({ stopLoops })}
          />
        </fieldset>
        <ThemeField value={theme} onChange={onChange} />
        <KeyField key={apiKey} initial={apiKey} onKey={onKey} />

        <footer class="ways">
          <button type="button" class="quiet" aria-disabled={!state.path.length} onClick={() => state.path.length && page.exportChat('md')}>
            Export as Markdown
          </button>
          <button
            type="button"
            class="quiet"
            aria-disabled={!state.path.length}
            onClick={() => state.path.length && page.exportChat('json')}
          >
            Export as JSON
          </button>
          <CopyButton text={() => curl(state)} label="Copy this conversation as a curl command" words="Copy as curl" />
          <a class="quiet" href="/npu">
            Accelerator
          </a>
          <button type="button" class="quiet" onClick={onHelp}>
            Keys
          </button>
          <button type="button" class="quiet" onClick={() => onChange({ ...DEFAULTS, theme, model, device: here, presets })}>
            Reset
          </button>
        </footer>
      </div>
    </dialog>
  );
}

/** The request that asked for the last answer, or a first one. */
function curl({ chat, path, settings, models, server }: State): string {
  const last = path.findLastIndex((turn) => turn.role === 'assistant');
  const turns = last > 0 ? path.slice(0, last) : [{ id: '1', parent: null, role: 'user', text: 'Hello!' } satisfies Turn];
  const keyed = typeof server === 'object' && server.next === 'key';
  const model = modelOf({ settings, models });
  try {
    return curlOf(requestOf({ chat, turns }, settings, model), location.origin, keyed);
  } catch {
    return curlOf(requestOf({ chat: { ...chat, tools: '', schema: '' }, turns }, settings, model), location.origin, keyed);
  }
}
