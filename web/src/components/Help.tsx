import { useEffect, useRef } from 'preact/hooks';
import { SHORTCUTS } from '../shortcuts.ts';
import { Icon } from './Icon.tsx';

const FIGURES: [string, string][] = [
  [
    'tokens/s',
    'Decode: how fast the answer grew after its first token, by the server’s count and clock. Of an answer that was continued or taken over: its last part. A token is a piece of a word.',
  ],
  ['prompt tokens/s', 'Prefill: how fast the part of the prompt that was not cached was computed, by the server’s clock.'],
  [
    'to first',
    'Until the first token came. By the server’s clock where it tells it; otherwise seen from this page, with queue and network.',
  ],
  ['tokens', 'Length of the answer.'],
  ['cached', 'Tokens of the prompt that were not computed again, since the server still held them.'],
  ['prefill', 'Where the prompt was computed: local (the model’s own isolate), npu (the accelerator) or this device.'],
];

/** Keyboard shortcuts, and what the figures below answers mean. */
export function Help({ open, onClose }: { open: boolean; onClose(): void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (open) dialog.current?.showModal();
    else dialog.current?.close();
  }, [open]);
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: Escape closes a dialog by itself
    <dialog
      ref={dialog}
      class="help"
      aria-labelledby="help-title"
      onClose={onClose}
      onClick={(event) => event.target === dialog.current && onClose()}
    >
      <div class="sheet">
        <header>
          <h2 id="help-title">Keys and figures</h2>
          <button type="button" class="quiet" aria-label="Close help" title="Close (Esc)" onClick={onClose}>
            <Icon name="close" />
          </button>
        </header>
        <h3>Keys</h3>
        <dl class="keys">
          {SHORTCUTS.map(({ keys, what }) => (
            <div key={keys}>
              <dt>
                <kbd>{keys}</kbd>
              </dt>
              <dd>{what}</dd>
            </div>
          ))}
        </dl>
        <h3>Figures below an answer</h3>
        <dl>
          {FIGURES.map(([name, what]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{what}</dd>
            </div>
          ))}
        </dl>
      </div>
    </dialog>
  );
}
