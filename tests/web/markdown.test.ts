import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { blocks, GrowingBlocks } from '../../web/src/markdown/blocks.ts';
import { decode } from '../../web/src/markdown/entities.ts';
import { safeUrl } from '../../web/src/markdown/Markdown.tsx';
import { mend } from '../../web/src/markdown/mend.ts';
import { live, shown } from './text.ts';

describe('markdown as elements', () => {
  it.each([
    ['a **b** *c* ~~d~~ `e<f`', '<p>a <strong>b</strong> <em>c</em> <del>d</del> <code>e&lt;f</code></p>'],
    ['one\ntwo', '<p>one<br></br>two</p>'],
    ['# Top\n\n###### Deep', '<h3>Top</h3><h6>Deep</h6>'],
    ['- a\n- b', '<ul><li>a</li><li>b</li></ul>'],
    ['4. a\n5. b', '<ol start="4"><li>a</li><li>b</li></ol>'],
    ['> a', '<blockquote><p>a</p></blockquote>'],
    ['```ts\nlet a = "<b>";\n```', '<pre lang="ts">let a = "&lt;b>";</pre>'],
    ['[a](https://example.org/x?a=1)', '<p><a href="https://example.org/x?a=1">a</a></p>'],
    ['14.', '<p>14.</p>'],
    ['It is so.\n\n14.', '<p>It is so.</p><p>14.</p>'],
    ['1. a\n2.', '<ol><li>a</li><li></li></ol>'],
    ['so $e^{i\\pi} = -1$ is', '<p>so <math>e^{i\\pi} = -1</math> is</p>'],
    ['\\(x\\) and $y$', '<p><math>x</math> and <math>y</math></p>'],
    ['$$\nx^2\n$$', '<math display>x^2</math>'],
    ['\\[ a \\]', '<math display>a</math>'],
    ['from $5 to $10, or 5$ and 6$', '<p>from $5 to $10, or 5$ and 6$</p>'],
    ['`$a^2$` and \\$b^2$', '<p><code>$a^2$</code> and $b^2$</p>'],
    ['AT&amp;T &lt;b&gt; &#233; &nope;', '<p>AT&amp;T &lt;b> é &amp;nope;</p>'],
  ])('%j', (text, expected) => {
    expect(shown(text)).toBe(expected);
  });

  it('aligns table columns', () => {
    expect(shown('| a | b |\n| --- | --: |\n| 1 | 2 |')).toContain('<td data-align="right">2</td>');
  });

  it.each([
    '<img src=x onerror=alert(1)>',
    'a <script>alert(1)</script>',
    '<div onclick="x()">\n\n<b>y</b>\n\n</div>',
    '[a](javascript:alert(1))',
    '[a](JaVaScRiPt:alert(1))',
    '[a](data:text/html,<script>1</script>)',
    '[a](vbscript:x)',
    '[a](/v1/models)',
    '![a](https://example.org/pixel.gif)',
    '[![a](https://example.org/p.gif)](javascript:x)',
    '<javascript:alert(1)>',
  ])('never makes an element, an image or an unsafe link of %j', (text) => {
    const tags = [...shown(text).matchAll(/<(\w+)([^>]*)>/g)];
    for (const [, tag, rest] of tags) {
      expect(['p', 'a', 'br', 'strong', 'em', 'code']).toContain(tag);
      expect(rest).not.toMatch(/src|on\w+=|href="(?!https?:|mailto:)/i);
    }
  });

  it('knows which addresses are links', () => {
    expect(safeUrl('https://a.b/c')).toBe('https://a.b/c');
    expect(safeUrl('mailto:a@b.c')).toBe('mailto:a@b.c');
    for (const bad of ['javascript:1', 'java\nscript:1', ' javascript:1', 'data:,x', 'blob:https://a/b', 'x', '//a.b', '']) {
      expect(safeUrl(bad), bad).toBeUndefined();
    }
  });

  it('draws what is nested deep at the deepest level, soon', () => {
    const list = Array.from({ length: 600 }, (_, i) => `${' '.repeat(2 * i)}- a`).join('\n');
    const start = performance.now();
    expect(shown(list).match(/<li>/g)).toHaveLength(600);
    expect(shown(`${'> '.repeat(3000)}x`).match(/<blockquote>/g)!.length).toBeLessThan(20);
    expect(performance.now() - start).toBeLessThan(1000);
    const code = `\`\`\`\n${' '.repeat(80)}deep\n\`\`\``;
    expect(shown(code)).toContain(`${' '.repeat(80)}deep`);
  });

  it('reads a text that grows as it reads the whole', () => {
    const parts = [
      '# Top\n\n',
      'A para\nwith *two* lines.\n\n',
      '- a\n- b\n\n  more\n',
      '\n1. x\n2. y\n\n',
      '```ts\nlet a;\n\nlet b;\n```\n',
      '\n| a | b |\n| - | - |\n| 1 | 2 |\n\n',
      'Head\n---\n',
      '> q\n> r\n\n',
      'end $x^2$.\n',
    ];
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...parts), { maxLength: 14 }), fc.integer({ min: 1, max: 9 }), (some, step) => {
        const text = `${some.join('')}\n\nThe end.`;
        const growing = new GrowingBlocks();
        let last = growing.next('');
        for (let at = 0; at < text.length; at += step) last = growing.next(text.slice(0, at + step));
        const types = (tokens: { type: string; raw: string }[]) => tokens.map((token) => `${token.type} ${token.raw.trim()}`);
        expect(types(last)).toEqual(types(blocks(text)));
      }),
      { numRuns: 150 },
    );
  });

  it('survives what no parser likes', () => {
    expect(shown('>'.repeat(3000))).toBeTypeOf('string');
    expect(shown(`${'['.repeat(2000)}a`)).toBeTypeOf('string');
    expect(decode('&#0;&#xd800;&#x110000;&constructor;')).toBe('&#0;&#xd800;&#x110000;&constructor;');
  });
});

describe('markdown while it is written', () => {
  it.each([
    // what has come so far, what is shown
    ['a **b', '<p>a <strong>b</strong></p>'],
    ['a **b ', '<p>a <strong>b</strong> </p>'],
    ['a **', '<p>a</p>'],
    ['a **b*', '<p>a <strong>b</strong></p>'],
    ['a *b **c', '<p>a <em>b <strong>c</strong></em></p>'],
    ['a `b', '<p>a <code>b</code></p>'],
    ['a `b** c', '<p>a <code>b** c</code></p>'],
    ['2 * 3 = 6', '<p>2 * 3 = 6</p>'],
    ['2 * 3', '<p>2 * 3</p>'],
    ['a\n-', '<p>a</p>'],
    ['a\n\n1.', '<p>a</p>'],
    ['- a\n-', '<ul><li>a</li></ul>'],
    ['- **a', '<ul><li><strong>a</strong></li></ul>'],
    ['- a **b**\n- *c', '<ul><li>a <strong>b</strong></li><li><em>c</em></li></ul>'],
    ['see [the notes](https://exa', '<p>see the notes</p>'],
    ['```js\nlet **a', '<pre lang="js">let **a</pre>'],
    ['```js\nlet a\n``', '<pre lang="js">let a</pre>'],
    ['| a', '<table>'],
    ['| a | b |\n| -', '<table>'],
  ])('%j', (text, expected) => {
    if (expected === '<table>') expect(live(text)).toContain('<th>');
    else expect(live(text)).toBe(expected);
  });

  it('leaves text alone in which nothing is open', () => {
    const whole = ['a **b** c', '# a\n\n- b\n- c\n\n`d`', '```\n**\n```', 'a\\*b', '| a | b |\n|---|---|\n| 1 | 2 |', 'f(x) = [1, 2]'];
    for (const text of whole) expect(mend(text)).toBe(text);
  });

  it('shows the same as without mending once a paragraph has followed', () => {
    const text =
      'Some **bold** and *slanted* and `code`, [a link](https://example.org).\n\n- one\n- **two**\n\n```js\nlet a = 1;\n```\n\nEnd.';
    expect(live(text)).toBe(shown(text));
  });

  it('never loses or invents letters, whatever has come so far', () => {
    const piece = fc.constantFrom('**', '*', '`', '```', '\n', '\n\n', '- ', '# ', '| ', '[', ')', ' ', '~~', 'a', 'b c', '1. ', '\\');
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
        const text = pieces.join('');
        const letters = (s: string) => s.replace(/[^abc]/g, '');
        expect(letters(mend(text))).toBe(letters(text));
      }),
      { numRuns: 2000 },
    );
  });
});
