/**
 * Markdown that is still being written, closed so that it reads as it will when it is whole: an open `**` or code span is closed, half a
 * link shows its text, a marker alone on the last line waits for what it marks. Only what is open at the end changes; whole text comes
 * back as it was.
 */
export function mend(text: string): string {
  const at = text.lastIndexOf('\n') + 1;
  const last = text.slice(at);
  const fence = openFence(text.slice(0, at));
  if (fence) return /^\s*[`~]+\s*$/.test(last) && last.trim().length < fence.length ? text.slice(0, at) : text;
  if (/^\s*(`{3}|~{3})/.test(last)) return text;
  // A marker without its text: "-" under a line would make that line a heading, "#" and "1." would jump.
  if (/^\s*([-*+=>|]+|#{1,6}|\d{1,3}[.)]|`{1,2})\s*$/.test(last)) return text.slice(0, at);

  const from = blockStart(text);
  return text.slice(0, from) + table(closeInline(halfLink(text.slice(from))));
}

/** The fence that is open at the end of `text` (whole lines), or nothing. */
function openFence(text: string): string {
  let open = '';
  for (const [, mark, rest] of text.matchAll(/^[ \t]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?(`{3,}|~{3,})(.*)$/gm)) {
    if (!open) open = mark[0] === '`' && rest.includes('`') ? '' : mark;
    else if (mark[0] === open[0] && mark.length >= open.length && rest.trim() === '') open = '';
  }
  return open;
}

/** Where the last block begins: after the last blank line, or at the last list item or heading. */
function blockStart(text: string): number {
  let start = text.lastIndexOf('\n\n') + 1;
  for (const match of text.slice(start).matchAll(/^[ \t]*([-*+]|\d{1,9}[.)]|#{1,6}|>)[ \t]/gm)) {
    if (match.index > 0) start = Math.max(start, text.length - text.slice(start).length + match.index);
  }
  return start;
}

/** `[text](htt` as `text`. */
function halfLink(text: string): string {
  return text.replace(/!?\[([^\]\n]*)\]\([^)\s]*$/, '$1');
}

/** Closes code spans and emphasis that are open at the end, innermost first; an opener with nothing after it is dropped. */
function closeInline(text: string): string {
  const open: string[] = [];
  let i = 0;
  while (i < text.length) {
    const mark = /^(`+|\*{1,3}|~~)/.exec(text.slice(i, i + 64))?.[0];
    if (text[i] === '\\') i += 2;
    else if (!mark) i++;
    else if (mark[0] === '`') {
      const end = text.indexOf(mark, i + mark.length);
      if (end < 0) return close(text, [...open, mark]);
      i = end + mark.length;
    } else {
      const before = text[i - 1] ?? ' ';
      const after = text[i + mark.length] ?? '';
      if (open.includes(mark) && /\S/.test(before)) open.splice(open.lastIndexOf(mark));
      else if (after === '' || /\S/.test(after)) open.push(mark);
      i += mark.length;
    }
  }
  return close(text, open);
}

function close(text: string, open: string[]): string {
  let body = text.trimEnd();
  const space = text.slice(body.length);
  let left = open;
  for (let mark = left.at(-1); mark && body.endsWith(mark); mark = left.at(-1)) {
    body = body.slice(0, -mark.length).trimEnd();
    left = left.slice(0, -1);
  }
  return body + left.toReversed().join('') + space;
}

/** A table's first line in the making, or its delimiter line, as a table without rows. */
function table(text: string): string {
  const lines = text.trimStart().split('\n');
  if (lines.length > 2 || !/^\|\s*[^\s|]/.test(lines[0]) || !/^[\s|:-]*$/.test(lines[1] ?? '')) return text;
  const head = lines[0].trimEnd().replace(/([^|])$/, '$1 |');
  const columns = head.trim().slice(1, -1).split('|').length;
  return `${text.slice(0, text.length - text.trimStart().length)}${head}\n${'|---'.repeat(columns)}|`;
}
