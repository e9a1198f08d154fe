import type { ComponentChildren, RefObject } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { Draft } from '../db.ts';
import type { TextFile } from '../turns.ts';
import { wordsOf } from '../turns.ts';
import { Icon } from './Icon.tsx';
import { TextBox } from './TextBox.tsx';

const SAVE_AFTER = 300; // ms without a key
const MAX_FILE = 1 << 20; // bytes

interface Props {
  box: RefObject<HTMLTextAreaElement>;
  chat: string;
  busy: boolean;
  /** What stands below the box, with the draft in it. */
  below(draft: string): ComponentChildren;
  loadDraft(chat: string): Promise<Draft | undefined>;
  saveDraft(chat: string, draft: Draft): void;
  /** Before the page goes. */
  keepDraft(chat: string, draft: Draft): void;
  onSend(text: string, files: TextFile[]): void;
  onStop(): void;
  onUp(): void;
}

/**
 * Where the next message is written. While an answer is being written the button stops it; the draft can go on. The draft is
 * kept with its chat; typing touches nothing but this component.
 */
export function Composer({ box, chat, busy, below, loadDraft, saveDraft, keepDraft, onSend, onStop, onUp }: Props) {
  const [text, setText] = useState('');
  const [files, setFiles] = useState<TextFile[]>([]);
  const [fault, setFault] = useState('');
  const [over, setOver] = useState(false);
  const timer = useRef<ReturnType<typeof setTimeout>>();
  const typed = useRef(false);
  const picker = useRef<HTMLInputElement>(null);

  const latest = useRef<Draft>({ text: '', files: [] });
  latest.current = { text, files };
  useEffect(() => {
    let here = true;
    void loadDraft(chat).then((draft) => {
      if (!here || !draft || typed.current) return;
      setText(draft.text);
      setFiles(draft.files);
    });
    return () => {
      here = false;
      clearTimeout(timer.current);
      if (typed.current) saveDraft(chat, latest.current);
    };
  }, [chat]);
  useEffect(() => {
    if (!typed.current) return;
    clearTimeout(timer.current);
    timer.current = setTimeout(() => saveDraft(chat, { text, files }), SAVE_AFTER);
  }, [text, files]);
  useEffect(() => {
    const now = () => typed.current && keepDraft(chat, latest.current);
    addEventListener('pagehide', now);
    return () => removeEventListener('pagehide', now);
  }, [chat]);

  const change = (next: string) => {
    typed.current = true;
    setText(next);
  };
  const changeFiles = (next: TextFile[]) => {
    typed.current = true;
    setFiles(next);
  };
  const send = () => {
    if (busy || (!text.trim() && !files.length)) return;
    typed.current = true;
    setText('');
    setFiles([]);
    setFault('');
    onSend(text.trim(), files);
  };
  const attach = async (list: Iterable<File>) => {
    setFault('');
    const read = await Promise.all([...list].map(readText));
    const bad = read.find((file): file is string => typeof file === 'string');
    if (bad) setFault(bad);
    changeFiles([...latest.current.files, ...read.filter((file): file is TextFile => typeof file !== 'string')]);
    box.current?.focus();
  };

  return (
    <>
      <form
        class="composer"
        data-over={over}
        onSubmit={(event) => {
          event.preventDefault();
          send();
        }}
        onDragOver={(event) => {
          event.preventDefault();
          setOver(true);
        }}
        onDragLeave={() => setOver(false)}
        onDrop={(event) => {
          event.preventDefault();
          setOver(false);
          void attach(event.dataTransfer?.files ?? []);
        }}
        onPaste={(event) => {
          const pasted = [...(event.clipboardData?.files ?? [])];
          if (!pasted.length) return;
          event.preventDefault();
          void attach(pasted);
        }}
      >
        {files.length > 0 && (
          <ul class="files" aria-label="Attached files">
            {files.map((file, i) => (
              <li key={i}>
                <Icon name="clip" /> {file.name}
                <button
                  type="button"
                  class="quiet"
                  aria-label={`Remove ${file.name}`}
                  onClick={() => changeFiles(files.filter((_, k) => k !== i))}
                >
                  <Icon name="close" />
                </button>
              </li>
            ))}
          </ul>
        )}
        <div class="write">
          <button
            type="button"
            class="quiet attach"
            aria-label="Attach a text file"
            title="Attach a text file"
            onClick={() => picker.current?.click()}
          >
            <Icon name="clip" />
          </button>
          <input
            ref={picker}
            type="file"
            multiple
            hidden
            onChange={(event) => {
              void attach([...(event.currentTarget.files ?? [])]);
              event.currentTarget.value = '';
            }}
          />
          <TextBox box={box} value={text} label="Message" placeholder="Ask something" onInput={change} onEnter={send} onUp={onUp} />
          {busy ? (
            <button type="button" class="round" aria-label="Stop" title="Stop (Esc)" onClick={onStop}>
              <Icon name="stop" />
            </button>
          ) : (
            <button type="submit" class="round" aria-label="Send" title="Send (Enter)" aria-disabled={!text.trim() && !files.length}>
              <Icon name="up" />
            </button>
          )}
        </div>
        {fault && (
          <p class="wrong" role="alert">
            {fault}
          </p>
        )}
      </form>
      {below(wordsOf({ text, files }))}
    </>
  );
}

/** A file as text, or why it is none. */
async function readText(file: File): Promise<TextFile | string> {
  if (file.size > MAX_FILE) return `${file.name} is larger than 1 MB: no model here could read it.`;
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(await file.arrayBuffer());
    if (text.includes('\0')) return `${file.name} is no text.`;
    return { name: file.name.slice(0, 200), text };
  } catch {
    return `${file.name} is no text.`;
  }
}
