import { useEffect, useState } from 'preact/hooks';
import type { ProblemInfo } from '../problem.ts';
import { KeyField } from './KeyField.tsx';

export interface ProblemActions {
  onKey(key: string): void;
  onSettings(): void;
  onNew(): void;
}

/** What went wrong and the one or two things that help. */
export function ProblemNote({ problem, retry, onKey, onSettings, onNew }: ProblemActions & { problem: ProblemInfo; retry?: () => void }) {
  const wait = useCountdown(problem.after ?? 0);
  return (
    <section class="problem" aria-label="Problem">
      <p>
        <strong>{problem.title}</strong> {problem.advice}
      </p>
      {problem.detail && <p class="detail">{problem.detail}</p>}
      {problem.next === 'key' && (
        <KeyField
          onKey={(key) => {
            onKey(key);
            retry?.();
          }}
        />
      )}
      <p class="ways">
        {problem.next === 'settings' && (
          <button type="button" class="plain" onClick={onSettings}>
            Open settings
          </button>
        )}
        {problem.next === 'new' && (
          <button type="button" class="plain" onClick={onNew}>
            New chat
          </button>
        )}
        {retry && problem.next !== 'key' && (
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
