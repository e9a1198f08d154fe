import { Markdown } from '../markdown/Markdown.tsx';
import { type AnswerTurn, isRunning } from '../state.ts';
import { figures } from '../stats.ts';
import { Calls } from './Calls.tsx';
import { CopyButton } from './CopyButton.tsx';
import { Icon } from './Icon.tsx';
import { type ProblemActions, ProblemNote } from './ProblemNote.tsx';

interface Props extends ProblemActions {
  answer: AnswerTurn;
  last: boolean;
  onAgain(id: number): void;
  onResults(results: { callId: string; name: string; text: string }[]): void;
}

const ENDS: Record<string, string> = {
  length: 'Cut off at the token limit. “Max tokens” in the settings raises it.',
  content_filter: 'The server ended this answer.',
};

/** One answer: text, calls, what went wrong, and the figures below. */
export function Answer({ answer, last, onAgain, onResults, ...problemActions }: Props) {
  const live = isRunning(answer);
  const end = answer.status === 'stopped' ? 'Stopped.' : answer.status === 'done' && answer.finish ? ENDS[answer.finish] : undefined;
  const nothing = answer.status === 'done' && !answer.text.trim() && !answer.calls.length;
  return (
    <article class="answer" data-live={live} aria-label="Answer" aria-busy={live}>
      {answer.status === 'waiting' && (
        <p class="waiting">
          <span class="pebble" aria-hidden="true" />
          <span class="waiting-words">Waiting for the first token</span>
        </p>
      )}
      {answer.text && <Markdown text={answer.text} live={live} />}
      {answer.calls.length > 0 && <Calls calls={answer.calls} open={last && !live} onResults={onResults} />}
      {nothing && <p class="note">The model ended its answer without a word.</p>}
      {end && <p class="note">{end}</p>}
      {answer.problem && <ProblemNote problem={answer.problem} retry={() => onAgain(answer.id)} {...problemActions} />}
      {!live && !(answer.problem && !answer.text) && (
        <footer class="under">
          {answer.text && <CopyButton short text={() => answer.text} label="Copy answer" />}
          <button type="button" class="quiet" title="Regenerate" aria-label="Regenerate" onClick={() => onAgain(answer.id)}>
            <Icon name="again" />
          </button>
          <ul class="figures" aria-label="Figures">
            {figures(answer.stats).map(({ value, unit, title, href }) => (
              <li key={unit} title={title}>
                <b>{value}</b> {href ? <a href={href}>{unit}</a> : unit}
              </li>
            ))}
          </ul>
        </footer>
      )}
    </article>
  );
}
