import type { MarkedToken, Token, Tokens } from 'marked';
import { Component, type ComponentChildren, Fragment, h } from 'preact';
import { useRef } from 'preact/hooks';
import { CodeBlock } from '../components/CodeBlock.tsx';
import { Formula } from '../components/Formula.tsx';
import { blocks, GrowingBlocks } from './blocks.ts';
import { decode } from './entities.ts';
import type { MathToken } from './math.ts';

/**
 * Markdown as elements. Tokens become elements one by one and text stays text: no HTML of the model's is ever parsed, nothing is loaded,
 * and links go to web and mail addresses only. While `live`, unfinished markdown is mended; blocks that did not change are not touched, so
 * that nothing flickers and a selection stays.
 */
export function Markdown({ text, live }: { text: string; live: boolean }) {
  const growing = useRef<GrowingBlocks>();
  if (live) growing.current ??= new GrowingBlocks();
  const tokens = live && growing.current ? growing.current.next(text) : blocks(text);
  return (
    <div class="prose">
      {tokens.map((token, i) => (
        <Block key={i} token={token} live={live && i === tokens.length - 1} />
      ))}
    </div>
  );
}

class Block extends Component<{ token: Token; live: boolean }> {
  override shouldComponentUpdate(next: { token: Token; live: boolean }): boolean {
    return next.token.raw !== this.props.token.raw || next.token.type !== this.props.token.type || next.live !== this.props.live;
  }
  override render() {
    return element(this.props.token, 0, 0, this.props.live);
  }
}

const MAX_DEPTH = 40;

/** One token, and what is in it, as elements. */
export function element(generic: Token, key: number, depth = 0, live = false): ComponentChildren {
  const token = generic as MarkedToken | (MathToken & { type: 'math' });
  if (depth > MAX_DEPTH) return token.raw;
  const inside = (tokens: Token[] | undefined) => tokens?.map((child, i) => element(child, i, depth + 1, live));
  switch (token.type) {
    case 'paragraph':
      return <p key={key}>{inside(token.tokens)}</p>;
    case 'heading':
      return h(`h${Math.min(6, token.depth + 2)}`, { key }, inside(token.tokens)); // h1 and h2 are the page's
    case 'code':
      return <CodeBlock key={key} text={token.text} lang={token.lang} live={live} />;
    case 'math':
      return <Formula key={key} tex={token.tex} display={token.display} />;
    case 'blockquote':
      return <blockquote key={key}>{inside(token.tokens)}</blockquote>;
    case 'list':
      return list(token, key, inside);
    case 'table':
      return table(token, key, inside);
    case 'hr':
      return <hr key={key} />;
    case 'strong':
      return <strong key={key}>{inside(token.tokens)}</strong>;
    case 'em':
      return <em key={key}>{inside(token.tokens)}</em>;
    case 'del':
      return <del key={key}>{inside(token.tokens)}</del>;
    case 'codespan':
      return <code key={key}>{token.text}</code>;
    case 'br':
      return <br key={key} />;
    case 'link':
      return link(token.href, inside(token.tokens), key);
    case 'image': // never loaded: a link to it instead
      return link(token.href, decode(token.text) || 'image', key);
    case 'checkbox':
      return <input key={key} type="checkbox" checked={token.checked} disabled />;
    case 'text':
      return token.tokens ? <Fragment key={key}>{inside(token.tokens)}</Fragment> : decode(token.text);
    case 'escape':
      return decode(token.text);
    default: // html and what a later parser may add: as it was written
      return token.raw;
  }
}

function list(token: Tokens.List, key: number, inside: (tokens: Token[]) => ComponentChildren) {
  // "14." alone is a number at a sentence's end, not a list without a word
  if (token.ordered && token.items.every((item) => !item.text.trim())) return <p key={key}>{token.raw.trim()}</p>;
  const items = token.items.map((item, i) => <li key={i}>{inside(item.tokens)}</li>);
  if (!token.ordered) return <ul key={key}>{items}</ul>;
  return (
    <ol key={key} start={token.start === '' || token.start === 1 ? undefined : token.start}>
      {items}
    </ol>
  );
}

function table(token: Tokens.Table, key: number, inside: (tokens: Token[]) => ComponentChildren) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a table wider than the page is scrolled with the keyboard too
    <section key={key} class="wide" tabIndex={0} aria-label="Table">
      <table>
        <thead>
          <tr>
            {token.header.map((cell, i) => (
              <th key={i} data-align={cell.align}>
                {inside(cell.tokens)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {token.rows.map((row, r) => (
            <tr key={r}>
              {row.map((cell, i) => (
                <td key={i} data-align={cell.align}>
                  {inside(cell.tokens)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function link(href: string, children: ComponentChildren, key: number) {
  const url = safeUrl(href);
  if (!url) return <Fragment key={key}>{children}</Fragment>;
  return (
    <a key={key} href={url} target="_blank" rel="noopener noreferrer nofollow">
      {children}
    </a>
  );
}

/** An absolute web or mail address; anything else (`javascript:`, `data:`, a path on this site) is no link. */
export function safeUrl(href: string): string | undefined {
  try {
    const url = new URL(href);
    return ['http:', 'https:', 'mailto:'].includes(url.protocol) ? url.href : undefined;
  } catch {
    return undefined;
  }
}
