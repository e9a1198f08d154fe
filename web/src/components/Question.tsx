import { useState } from 'preact/hooks';
import type { UserTurn } from '../state.ts';
import { CopyButton } from './CopyButton.tsx';
import { Icon } from './Icon.tsx';
import { TextBox } from './TextBox.tsx';

interface Props {
  turn: UserTurn;
  editing: boolean;
  onEdit(id: number | null): void;
  onSave(id: number, text: string): void;
}

/** What the reader asked, as it was typed; it can be changed, which asks again from there. */
export function Question({ turn, editing, onEdit, onSave }: Props) {
  return (
    <article class="question" aria-label="You">
      {editing ? (
        <Editor text={turn.text} onCancel={() => onEdit(null)} onSave={(text) => onSave(turn.id, text)} />
      ) : (
        <>
          <p class="stone">{turn.text}</p>
          <footer class="under">
            <CopyButton short text={() => turn.text} label="Copy message" />
            <button type="button" class="quiet" title="Edit" aria-label="Edit message" onClick={() => onEdit(turn.id)}>
              <Icon name="pencil" />
            </button>
          </footer>
        </>
      )}
    </article>
  );
}

function Editor({ text, onCancel, onSave }: { text: string; onCancel(): void; onSave(text: string): void }) {
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
      <TextBox value={draft} label="Edit message" autoFocus onInput={setDraft} onEnter={save} onEscape={onCancel} />
      <p class="ways">
        <button type="button" class="plain" onClick={onCancel}>
          Cancel
        </button>
        <button type="submit" class="plain strong">
          Ask again
        </button>
      </p>
    </form>
  );
}
