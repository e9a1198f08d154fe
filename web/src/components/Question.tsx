import type { UserTurn } from '../turns.ts';
import { CopyButton } from './CopyButton.tsx';
import { Editor } from './Editor.tsx';
import { Icon } from './Icon.tsx';
import type { TurnProps } from './turn-props.ts';

/** What the reader asked, as it was typed; it can be changed, which asks again from there and keeps both. */
export function Question({ turn, editing, branches, onEdit, onSave }: TurnProps & { turn: UserTurn }) {
  return (
    <article class="question" aria-label="You">
      {editing ? (
        <Editor
          text={turn.text}
          label="Edit message"
          words="Ask again"
          onCancel={() => onEdit(null)}
          onSave={(text) => onSave(turn, text)}
        />
      ) : (
        <>
          {turn.files?.map((file, i) => (
            <details key={i} class="stone file">
              <summary>
                <Icon name="clip" /> {file.name}
              </summary>
              <pre>{file.text}</pre>
            </details>
          ))}
          {turn.text && <p class="stone">{turn.text}</p>}
          <footer class="under">
            {branches}
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
