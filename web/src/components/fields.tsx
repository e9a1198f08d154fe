import { useState } from 'preact/hooks';
import { BOUNDS, type NumberSetting, readNumber, readTools, type Settings } from '../settings.ts';

interface Field<T> {
  value: T;
  onChange(settings: Partial<Settings>): void;
}

/** A number, or nothing for the server's default. Typing is free; leaving the field puts the number within its bounds. */
export function NumberField({ name, label, value, onChange }: Field<number | null> & { name: NumberSetting; label: string }) {
  const { min, max, step } = BOUNDS[name];
  const [typed, setTyped] = useState<string>();
  return (
    <label>
      {label}
      <input
        type="number"
        inputMode={step === 1 ? 'numeric' : 'decimal'}
        min={min}
        max={max}
        step={step}
        placeholder="default"
        value={typed ?? value ?? ''}
        onInput={(event) => {
          setTyped(event.currentTarget.value);
          onChange({ [name]: readNumber(name, event.currentTarget.value) });
        }}
        onBlur={() => setTyped(undefined)}
      />
    </label>
  );
}

const THEMES = ['auto', 'light', 'dark'] as const;

export function ThemeField({ value, onChange }: Field<Settings['theme']>) {
  return (
    <fieldset class="choice">
      <legend>Theme</legend>
      {THEMES.map((theme) => (
        <label key={theme}>
          <input type="radio" name="theme" value={theme} checked={value === theme} onChange={() => onChange({ theme })} />
          <span>{theme}</span>
        </label>
      ))}
    </fieldset>
  );
}

/** Tools as the API takes them, for trying tool calls by hand. */
export function ToolsField({ value, onTools }: { value: string; onTools(tools: string): void }) {
  const wrong = fault(value);
  return (
    <details class="tools" open={wrong !== undefined || undefined}>
      <summary>Tools{value.trim() && !wrong ? ' (in use)' : ''}</summary>
      <label>
        <span>A JSON array, as in the API, for this chat. You play the tool: the page asks you for its result.</span>
        <textarea
          rows={6}
          class="mono"
          spellcheck={false}
          value={value}
          aria-invalid={wrong !== undefined}
          placeholder={'[{"type": "function",\n  "function": {"name": "get_weather", …}}]'}
          onInput={(event) => onTools(event.currentTarget.value)}
        />
        {wrong && <small class="wrong">{wrong}</small>}
      </label>
    </details>
  );
}

function fault(text: string): string | undefined {
  try {
    readTools(text);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : 'not readable';
  }
}
