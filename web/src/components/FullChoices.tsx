import { useState } from 'preact/hooks';

export interface FullProps {
  /** Whether there is more than the last question, so that something can be left out. */
  more(): boolean;
  leaveOut(): Promise<void>;
  summarize(): Promise<void>;
  fromHere(): Promise<void>;
}

/** What can be done when the context is full. `then` follows what stays in this chat. */
export function FullChoices({ leaveOut, summarize, fromHere, then }: FullProps & { then?: () => void }) {
  const [busy, setBusy] = useState('');
  const [fault, setFault] = useState('');
  const choose = (words: string, work: () => Promise<void>, after?: () => void) => async () => {
    setBusy(words);
    setFault('');
    try {
      await work();
      after?.();
    } catch (error) {
      setFault(error instanceof Error ? error.message : String(error));
    }
    setBusy('');
  };
  return (
    <>
      <p class="ways">
        <button type="button" class="plain" aria-disabled={!!busy} onClick={choose('Looking for what fits…', leaveOut, then)}>
          Leave out the oldest
        </button>
        <button type="button" class="plain" aria-disabled={!!busy} onClick={choose('The model is summarizing…', summarize, then)}>
          Summarize the oldest
        </button>
        <button type="button" class="plain" aria-disabled={!!busy} onClick={choose('', fromHere)}>
          New chat from here
        </button>
      </p>
      {(busy || fault) && (
        <p class="detail" role="status">
          {busy || fault}
        </p>
      )}
    </>
  );
}
