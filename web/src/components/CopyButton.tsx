import { useEffect, useState } from 'preact/hooks';
import { Icon } from './Icon.tsx';

/** Copies `text()`; says so for two seconds, to the eye and to a screen reader. */
export function CopyButton({ text, label, words = 'Copy', short }: { text: () => string; label: string; words?: string; short?: boolean }) {
  const [state, set] = useState<'' | 'Copied' | 'Not copied'>('');
  useEffect(() => {
    if (!state) return;
    const timer = setTimeout(() => set(''), 2000);
    return () => clearTimeout(timer);
  }, [state]);
  return (
    <button
      type="button"
      class="quiet"
      title={label}
      aria-label={state || label}
      onClick={async () => set((await copy(text())) ? 'Copied' : 'Not copied')}
    >
      <Icon name={state === 'Copied' ? 'check' : 'copy'} />
      {!short && <span>{state || words}</span>}
    </button>
  );
}

/** The clipboard API needs a secure page; the old way works on a plain http address too. */
async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement('textarea');
    area.value = text;
    area.className = 'offstage';
    document.body.append(area);
    const focused = document.activeElement;
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    if (focused instanceof HTMLElement) focused.focus();
    return done;
  }
}
