import { useEffect, useState } from 'preact/hooks';
import { type AnswerTurn, isRunning } from '../turns.ts';

const LONGEST = 2000; // characters read out

/** What a screen reader hears, politely: that an answer begins, then the whole of it, not every token. */
export function Status({ answer }: { answer: AnswerTurn | undefined }) {
  const [words, setWords] = useState('');
  const [heard, setHeard] = useState<string>();
  const live = answer !== undefined && isRunning(answer);
  useEffect(() => {
    if (!answer) setWords('');
    else if (live) {
      setHeard(answer.id);
      setWords('Answering.');
    } else if (heard === answer.id) {
      setHeard(undefined);
      setWords(spoken(answer));
    }
  }, [answer?.id, live]);
  return (
    <p class="offstage" role="status">
      {words}
    </p>
  );
}

function spoken(answer: AnswerTurn): string {
  const problem = answer.problem ? `${answer.problem.title} ${answer.problem.advice}` : '';
  const calls = answer.calls.map((call) => `Calls ${call.name}.`).join(' ');
  const stopped = answer.status === 'stopped' ? 'Stopped.' : '';
  return [answer.text.replace(/[*_`#>|~\s]+/g, ' ').slice(0, LONGEST), calls, stopped, problem].filter(Boolean).join(' ');
}
