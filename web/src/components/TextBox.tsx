import type { Ref } from 'preact';
import { useLayoutEffect, useRef } from 'preact/hooks';

interface Props {
  value: string;
  label: string;
  placeholder?: string;
  autoFocus?: boolean;
  box?: Ref<HTMLTextAreaElement>;
  onInput(value: string): void;
  onEnter(): void;
  onEscape?(): void;
  /** Arrow up in an empty box. */
  onUp?(): void;
}

/** A text area that grows with its text. Enter sends, Shift+Enter breaks the line; an Enter that picks an IME candidate does neither. */
export function TextBox({ value, label, placeholder, autoFocus, box, onInput, onEnter, onEscape, onUp }: Props) {
  const own = useRef<HTMLTextAreaElement>(null);

  useLayoutEffect(() => {
    const area = own.current;
    if (!area || CSS.supports('field-sizing', 'content')) return; // the browser does it, without a layout of the page at every key
    area.style.height = 'auto';
    area.style.height = `${area.scrollHeight}px`;
  }, [value]);

  useLayoutEffect(() => {
    const area = own.current;
    if (typeof box === 'function') box(area);
    else if (box) box.current = area;
    if (autoFocus && area) {
      area.focus();
      area.setSelectionRange(area.value.length, area.value.length);
    }
  }, []);

  return (
    <textarea
      ref={own}
      rows={1}
      value={value}
      aria-label={label}
      placeholder={placeholder}
      enterkeyhint="send"
      onInput={(event) => onInput(event.currentTarget.value)}
      onKeyDown={(event) => {
        if (event.isComposing || event.keyCode === 229) return;
        if (event.key === 'Enter' && !event.shiftKey) {
          event.preventDefault();
          onEnter();
        } else if (event.key === 'Escape' && onEscape) {
          event.stopPropagation();
          onEscape();
        } else if (event.key === 'ArrowUp' && !value && onUp) {
          event.preventDefault();
          onUp();
        }
      }}
    />
  );
}
