import { CopyButton } from './CopyButton.tsx';

export function CodeBlock({ text, lang }: { text: string; lang?: string }) {
  const name = lang?.split(/\s/)[0];
  return (
    <figure class="code">
      <figcaption>
        <span>{name || 'text'}</span>
        <CopyButton text={() => text} label="Copy code" />
      </figcaption>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: code wider than the page is scrolled with the keyboard too */}
      <pre tabIndex={0}>
        <code>{text}</code>
      </pre>
    </figure>
  );
}
