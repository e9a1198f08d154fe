import { useState } from 'preact/hooks';
import { TextBox } from './TextBox.tsx';

interface Props {
  text: string;
  label: string;
  /** What the button says. */
  words: string;
  onCancel(): void;
  onSave(text: string): void;
}

/** A message that is being changed. */
export function Editor({ text, label, words, onCancel, onSave }: Props) {
  const [draft, setDraft] = useState(text);
  const save = () => {
    if (draft.trim()) onSave(draft.trim());
  };
  return (
    <form
      class="editor"
      onSubmit={(event) => {
        event.preventDefault();
        save();
      }}
    >
      <TextBox value={draft} label={label} autoFocus onInput={setDraft} onEnter={save} onEscape={onCancel} />
      <p class="ways">
        <button type="button" class="plain" onClick={onCancel}>
          Cancel
        </button>
        <button type="submit" class="plain strong">
          {words}
        </button>
      </p>
    </form>
  );
}
