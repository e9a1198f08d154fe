/** Loaded when the first code block with a known language stands. */
import type { Element, Root, RootContent } from 'hast';
import { common, createLowlight } from 'lowlight';
import { type ComponentChildren, h } from 'preact';

const lowlight = createLowlight(common);
const LONGEST = 50_000; // characters

/** Code as elements with classes `hljs-…`; undefined for a language that is not known. Nothing is parsed as HTML. */
export function highlighted(text: string, language: string): ComponentChildren | undefined {
  if (!lowlight.registered(language) || text.length > LONGEST) return undefined;
  return (lowlight.highlight(language, text) as Root).children.map(element);
}

function element(node: RootContent, key: number): ComponentChildren {
  if (node.type === 'text') return node.value;
  if (node.type !== 'element') return null;
  const { className } = (node as Element).properties;
  return h('span', { key, class: Array.isArray(className) ? className.join(' ') : undefined }, node.children.map(element));
}
