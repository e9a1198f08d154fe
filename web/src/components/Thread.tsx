import type { Chat } from '../chat.ts';
import type { Turn } from '../state.ts';
import { Answer } from './Answer.tsx';
import { memo } from './memo.ts';
import type { ProblemActions } from './ProblemNote.tsx';
import { Question } from './Question.tsx';

interface Props extends ProblemActions {
  turns: Turn[];
  chat: Chat;
  editing: number | null;
  onEdit(id: number | null): void;
  onSave(id: number, text: string): void;
}

const MemoAnswer = memo(Answer);
const MemoQuestion = memo(Question);

export function Thread({ turns, chat, editing, onEdit, onSave, ...problemActions }: Props) {
  return (
    <section class="thread" aria-label="Conversation">
      {turns.map((turn, i) => {
        if (turn.role === 'user') {
          return <MemoQuestion key={turn.id} turn={turn} editing={editing === turn.id} onEdit={onEdit} onSave={onSave} />;
        }
        if (turn.role === 'tool') {
          return (
            <article key={turn.id} class="question" aria-label="Tool result">
              <p class="stone tool">
                <b>{turn.name}</b> {turn.text}
              </p>
            </article>
          );
        }
        return (
          <MemoAnswer
            key={turn.id}
            answer={turn}
            last={i === turns.length - 1}
            onAgain={chat.again}
            onResults={chat.results}
            {...problemActions}
          />
        );
      })}
    </section>
  );
}
