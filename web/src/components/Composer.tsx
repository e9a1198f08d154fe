import type { RefObject } from 'preact';
import { useState } from 'preact/hooks';
import { Icon } from './Icon.tsx';
import { TextBox } from './TextBox.tsx';

interface Props {
  box: RefObject<HTMLTextAreaElement>;
  busy: boolean;
  onSend(text: string): void;
  onStop(): void;
  onUp(): void;
}

/** Where the next message is written. While an answer is being written the button stops it; the draft can go on. */
export function Composer({ box, busy, onSend, onStop, onUp }: Props) {
  const [text, setText] = useState('');
  const send = () => {
    if (busy || !text.trim()) return;
    setText('');
    onSend(text.trim());
  };
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <TextBox box={box} value={text} label="Message" placeholder="Ask something" onInput={setText} onEnter={send} onUp={onUp} />
      {busy ? (
        <button type="button" class="round" aria-label="Stop" title="Stop (Esc)" onClick={onStop}>
          <Icon name="stop" />
        </button>
      ) : (
        <button type="submit" class="round" aria-label="Send" title="Send (Enter)" aria-disabled={!text.trim()}>
          <Icon name="up" />
        </button>
      )}
    </form>
  );
}
