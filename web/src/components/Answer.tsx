import type { ComponentChildren } from 'preact';
import type { Chatting } from '../chat.ts';
import { endOf } from '../ends.ts';
import { Markdown } from '../markdown/Markdown.tsx';
import { figures } from '../stats.ts';
import { type AnswerTurn, isRunning, reasoningOf } from '../turns.ts';
import { Calls } from './Calls.tsx';
import { CopyButton } from './CopyButton.tsx';
import { Editor } from './Editor.tsx';
import { Icon } from './Icon.tsx';
import { type ProblemActions, ProblemNote } from './ProblemNote.tsx';
import type { TurnProps } from './turn-props.ts';
import { useSeconds } from './useSeconds.ts';

interface Props extends TurnProps, ProblemActions {
  turn: AnswerTurn;
  last: boolean;
  chatting: Chatting;
  context: number | undefined;
}

/** One answer: text, calls, what went wrong, why it ended, and the figures below. */
export function Answer({ turn, last, editing, branches, chatting, context, onEdit, onSave, ...problemActions }: Props) {
  const live = isRunning(turn);
  const end = endOf(turn, context);
  const nothing = turn.status === 'done' && !turn.text.trim() && !turn.calls.length;
  const { problem } = turn;
  const goOn = () => chatting.goOn(turn.id);
  const retry = problem && turn.kept && problem.transient ? goOn : () => chatting.again(turn.id);
  if (editing)
    return (
      <article class="answer" aria-label="Answer">
        <Editor
          text={turn.text}
          label="Edit answer"
          words="Save as a version"
          onCancel={() => onEdit(null)}
          onSave={(text) => onSave(turn, text)}
        />
      </article>
    );
  return (
    <article class="answer" data-live={live} aria-label="Answer" aria-busy={live}>
      {turn.status === 'waiting' && !turn.away && <Waiting />}
      <Text text={turn.text} live={live} />
      {turn.calls.length > 0 && <Calls calls={turn.calls} open={last && !live} onResults={chatting.results} />}
      {turn.away && <p class="note">The connection is lost. The server goes on; this page is trying to reach it…</p>}
      {nothing && <p class="note">The model ended its answer without a word.</p>}
      {end && (
        <p class="note end">
          <span>{end.words}</span>
          {end.more && last && (
            <button type="button" class="plain" onClick={goOn}>
              Continue
            </button>
          )}
        </p>
      )}
      {problem && (
        <ProblemNote
          problem={problem}
          retry={retry}
          goOn={turn.text && !turn.calls.length && !turn.kept ? goOn : undefined}
          {...problemActions}
        />
      )}
      {!live && !(problem && !turn.text) && (
        <Under answer={turn} onAgain={() => chatting.again(turn.id)} onEdit={() => onEdit(turn.id)}>
          {branches}
        </Under>
      )}
    </article>
  );
}

const LONG = 3; // s

/** A stone being turned over; when that takes long, what may be the reason. */
function Waiting() {
  const seconds = useSeconds(true);
  return (
    <p class="waiting">
      <span class="pebble" aria-hidden="true" />
      <span class={seconds < LONG ? 'waiting-words' : undefined}>
        {seconds < LONG
          ? 'Waiting for the first token'
          : `${seconds} s: the server reads a long prompt, answers others first, or loads its model`}
      </span>
    </p>
  );
}

/** Reasoning is folded away; while it is all there is, its fold says so. */
function Text({ text, live }: { text: string; live: boolean }) {
  const { reasoning, rest, open } = reasoningOf(text);
  return (
    <>
      {reasoning !== undefined && (
        <details class="reasoning">
          <summary>{open && live ? 'Thinking…' : 'Reasoning'}</summary>
          <Markdown text={reasoning} live={live && open} />
        </details>
      )}
      {rest && <Markdown text={rest} live={live} />}
    </>
  );
}

function Under({
  answer,
  onAgain,
  onEdit,
  children,
}: {
  answer: AnswerTurn;
  onAgain(): void;
  onEdit(): void;
  children: ComponentChildren;
}) {
  return (
    <footer class="under">
      {children}
      {answer.text && <CopyButton short text={() => answer.text} label="Copy answer" />}
      <button type="button" class="quiet" title="Regenerate" aria-label="Regenerate" onClick={onAgain}>
        <Icon name="again" />
      </button>
      {answer.text && (
        <button type="button" class="quiet" title="Edit answer" aria-label="Edit answer" onClick={onEdit}>
          <Icon name="pencil" />
        </button>
      )}
      {answer.edited ? (
        <span class="figures">Edited by you</span>
      ) : (
        <ul class="figures" aria-label="Figures">
          {figures(answer.stats).map(({ value, unit, title, href }) => (
            <li key={unit} title={title}>
              <b>{value}</b> {href ? <a href={href}>{unit}</a> : unit}
            </li>
          ))}
          {answer.stats.usage && (
            <li>
              <button
                type="button"
                class="quiet what"
                aria-label="What these figures mean"
                title="What these figures mean"
                onClick={() => dispatchEvent(new CustomEvent('turnstone:help'))}
              >
                ?
              </button>
            </li>
          )}
        </ul>
      )}
    </footer>
  );
}
