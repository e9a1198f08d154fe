import { useEffect, useState } from 'preact/hooks';
import type { ProblemInfo } from '../problem.ts';
import { FullChoices, type FullProps } from './FullChoices.tsx';
import { KeyField } from './KeyField.tsx';

export interface ProblemActions {
  onKey(key: string): void;
  onSettings(): void;
  full: FullProps;
}

interface Props extends ProblemActions {
  problem: ProblemInfo;
  retry?: () => void;
  goOn?: () => void;
}

/** What went wrong and the one or two things that help. */
export function ProblemNote({ problem, retry, goOn, onKey, onSettings, full }: Props) {
  const wait = useCountdown(problem.after ?? 0);
  const alone = problem.next === 'full' && !full.more();
  return (
    <section class="problem" aria-label="Problem">
      {alone ? (
        <p>
          <strong>This message alone is longer than the model’s context.</strong> Shorten it, or choose a lower “Max tokens”.
        </p>
      ) : (
        <p>
          <strong>{problem.title}</strong> {problem.advice}
        </p>
      )}
      {problem.detail && <p class="detail">{problem.detail}</p>}
      {problem.next === 'key' && (
        <KeyField
          onKey={(key) => {
            onKey(key);
            retry?.();
          }}
        />
      )}
      {problem.next === 'full' && !alone && <FullChoices {...full} then={retry} />}
      <p class="ways">
        {problem.next === 'settings' && (
          <button type="button" class="plain" onClick={onSettings}>
            Open settings
          </button>
        )}
        {goOn && problem.next === 'retry' && (
          <button type="button" class="plain" onClick={goOn}>
            Continue
          </button>
        )}
        {retry && (problem.next === 'retry' || problem.next === 'settings' || alone) && (
          <button type="button" class="plain" onClick={retry}>
            {wait > 0 ? `Try again (${wait} s)` : 'Try again'}
          </button>
        )}
      </p>
    </section>
  );
}

/** Seconds left. Nothing happens at zero: trying again stays the reader's choice. */
function useCountdown(from: number): number {
  const [left, setLeft] = useState(from);
  useEffect(() => {
    const end = Date.now() + from * 1000;
    setLeft(from);
    if (!from) return;
    const timer = setInterval(() => {
      const rest = Math.max(0, Math.ceil((end - Date.now()) / 1000));
      setLeft(rest);
      if (!rest) clearInterval(timer);
    }, 500);
    return () => clearInterval(timer);
  }, [from]);
  return left;
}
