import type { ComponentChildren } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { CopyButton } from './CopyButton.tsx';

/** Code as it was written; in colours once it is whole and the colours' code is here. */
export function CodeBlock({ text, lang, live }: { text: string; lang?: string; live?: boolean }) {
  const name = lang?.split(/\s/)[0]?.toLowerCase();
  const [shown, setShown] = useState<{ text: string; code: ComponentChildren }>();
  useEffect(() => {
    if (!name || live) return;
    let here = true;
    import('../markdown/highlight.ts').then(({ highlighted }) => here && setShown({ text, code: highlighted(text, name) })).catch(() => {}); // without a network: uncoloured
    return () => {
      here = false;
    };
  }, [text, name, live]);
  return (
    <figure class="code">
      <figcaption>
        <span>{name || 'text'}</span>
        <CopyButton text={() => text} label="Copy code" />
      </figcaption>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: code wider than the page is scrolled with the keyboard too */}
      <pre tabIndex={0}>
        <code>{(shown?.text === text && shown.code) || text}</code>
      </pre>
    </figure>
  );
}
