import { Fragment } from 'preact';
import { useCallback, useRef } from 'preact/hooks';
import type { Chatting } from '../chat.ts';
import { sentTurns } from '../request.ts';
import type { State } from '../state.ts';
import type { Turn } from '../turns.ts';
import { Answer } from './Answer.tsx';
import { Branches } from './Branches.tsx';
import { memo } from './memo.ts';
import type { ProblemActions } from './ProblemNote.tsx';
import { Question } from './Question.tsx';
import type { TurnProps } from './turn-props.ts';

interface Props extends ProblemActions {
  state: Pick<State, 'chat' | 'turns' | 'path'>;
  context: number | undefined;
  chatting: Chatting;
  editing: string | null;
  onEdit(id: string | null): void;
  onSave(turn: Turn, text: string): void;
  onSendAll(): void;
}

/** A turn, drawn again only when it or the number of its alternatives changes: thousands may stand here while one grows. */
const Row = memo(function Row({ turn, turns, version: _, ...more }: RowProps) {
  const branches = <Branches turns={turns()} turn={turn} onPick={more.chatting.pick.bind(more.chatting)} />;
  if (turn.role === 'user') return <Question turn={turn} branches={branches} {...more} />;
  if (turn.role === 'assistant') return <Answer turn={turn} branches={branches} {...more} />;
  return (
    <article class="question" aria-label="Tool result">
      <p class="stone tool">
        <b>{turn.name}</b> {turn.text}
      </p>
    </article>
  );
});

interface RowProps extends Omit<TurnProps, 'branches'>, ProblemActions {
  turn: Turn;
  /** All turns, when it is drawn. */
  turns(): readonly Turn[];
  /** `place/of how many`: changes when the alternatives do. */
  version: string;
  last: boolean;
  chatting: Chatting;
  context: number | undefined;
}

export function Thread({ state, context, chatting, editing, onEdit, onSave, onSendAll, ...problemActions }: Props) {
  const { chat, turns, path } = state;
  const left = path.length - sentTurns({ chat, turns: path }).length;
  const versions = versionsOf(turns);
  const all = useRef(turns);
  all.current = turns;
  const latest = useCallback(() => all.current, []);
  return (
    <section class="thread" aria-label="Conversation">
      {path.map((turn, i) => (
        <Fragment key={turn.id}>
          {left > 0 && i === left && (
            <aside class="cut" aria-label="Where the model’s reading begins">
              <p>
                {chat.summary
                  ? 'Above is sent as a summary:'
                  : 'Above is no longer sent: it was left out to make room in the model’s context.'}
              </p>
              {chat.summary && <p class="summary">{chat.summary}</p>}
              <button type="button" class="plain" onClick={onSendAll}>
                Send everything again
              </button>
            </aside>
          )}
          <Row
            turn={turn}
            turns={latest}
            version={versions.get(turn.id) ?? ''}
            editing={editing === turn.id}
            last={i === path.length - 1}
            {...{ chatting, context, onEdit, onSave, ...problemActions }}
          />
        </Fragment>
      ))}
    </section>
  );
}

/** Of each turn that has alternatives: which one it is, of how many. */
function versionsOf(turns: readonly Turn[]): Map<string, string> {
  const groups = new Map<string, string[]>();
  for (const turn of turns) {
    const name = `${turn.parent}/${turn.role}`;
    const group = groups.get(name);
    if (group) group.push(turn.id);
    else groups.set(name, [turn.id]);
  }
  return new Map([...groups.values()].flatMap((ids) => (ids.length > 1 ? ids.map((id, i) => [id, `${i}/${ids.length}`] as const) : [])));
}
