import type { ComponentChildren, VNode } from 'preact';
import { blocks } from '../../web/src/markdown/blocks.ts';
import { element } from '../../web/src/markdown/Markdown.tsx';
import { mend } from '../../web/src/markdown/mend.ts';

/** Markdown as the page shows it, written as tags: `<p>a <strong>b</strong></p>`. Only properties that matter are kept. */
export function shown(markdown: string): string {
  return blocks(markdown)
    .map((token, i) => tags(element(token, i)))
    .join('');
}

/** The same while the text is still being written. */
export const live = (markdown: string): string => shown(mend(markdown));

function tags(node: ComponentChildren): string {
  if (node === null || node === undefined || typeof node === 'boolean') return '';
  if (Array.isArray(node)) return node.map(tags).join('');
  if (typeof node !== 'object') return quoted(String(node));
  const { type, props } = node as VNode<Record<string, unknown>>;
  const children = props.children as ComponentChildren;
  if (typeof type === 'function') {
    // Fragment, or the code block or formula, of which only the text is of interest here
    if ('tex' in props) return `<math${props.display ? ' display' : ''}>${quoted(String(props.tex))}</math>`;
    return 'text' in props ? `<pre lang="${props.lang ?? ''}">${quoted(String(props.text))}</pre>` : tags(children);
  }
  const kept = ['href', 'src', 'start', 'data-align'].flatMap((name) => (props[name] == null ? [] : ` ${name}="${props[name]}"`));
  return `<${type}${kept.join('')}>${tags(children)}</${type}>`;
}

const quoted = (text: string) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
