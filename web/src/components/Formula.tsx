import { useEffect, useRef } from 'preact/hooks';

/** LaTeX as MathML, which browsers draw by themselves; its source until the code for it is here, and when it cannot be read. */
export function Formula({ tex, display }: { tex: string; display: boolean }) {
  const place = useRef<HTMLSpanElement>(null);
  useEffect(() => {
    let here = true;
    import('katex')
      .then(({ default: katex }) => {
        const made = document.createElement('span');
        katex.render(tex, made, { output: 'mathml', displayMode: display, maxExpand: 200, maxSize: 20, strict: 'ignore' });
        if (here) place.current?.replaceChildren(...made.childNodes);
      })
      .catch(() => {}); // what was written stands there
    return () => {
      here = false;
    };
  }, [tex, display]);
  // the key: when the source changes, the elements that were put in go with the old one
  return (
    <span key={`${display}${tex}`} ref={place} class={display ? 'formula wide' : 'formula'}>
      <code>{tex}</code>
    </span>
  );
}
