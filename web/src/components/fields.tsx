import { useState } from 'preact/hooks';
import {
  BOUNDS,
  type NumberSetting,
  type Preset,
  readNumber,
  readSampling,
  readSchema,
  readStops,
  readTools,
  SAMPLING,
  type Settings,
  showStops,
} from '../settings.ts';
import type { ModelCard } from '../transport.ts';

interface Field<T> {
  value: T;
  onChange(settings: Partial<Settings>): void;
}

/** A number, or nothing for the server's default. Typing is free; leaving the field puts the number within its bounds. */
export function NumberField({
  name,
  label,
  value,
  fallback,
  onChange,
}: Field<number | null> & { name: NumberSetting; label: string; fallback?: string }) {
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
        placeholder={fallback ?? 'default'}
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

/** A text of JSON that is read as it is typed; `example` shows its form. */
export function JsonField({ title, words, value, example, read, onInput }: JsonProps) {
  const wrong = fault(() => read(value));
  return (
    <details class="tools" open={wrong !== undefined || undefined}>
      <summary>
        {title}
        {value.trim() && !wrong ? ' (in use)' : ''}
      </summary>
      <label>
        <span>{words}</span>
        <textarea
          rows={6}
          class="mono"
          spellcheck={false}
          value={value}
          aria-invalid={wrong !== undefined}
          placeholder={example}
          onInput={(event) => onInput(event.currentTarget.value)}
        />
        {wrong && <small class="wrong">{wrong}</small>}
      </label>
    </details>
  );
}

interface JsonProps {
  title: string;
  words: string;
  value: string;
  example: string;
  read(text: string): unknown;
  onInput(text: string): void;
}

/** Tools as the API takes them, for trying tool calls by hand. */
export const ToolsField = ({ value, onInput }: { value: string; onInput(text: string): void }) => (
  <JsonField
    title="Tools"
    words="A JSON array, as in the API, for this chat. You play the tool: the page asks you for its result."
    example={'[{"type": "function",\n  "function": {"name": "get_weather", …}}]'}
    read={readTools}
    {...{ value, onInput }}
  />
);

/** A schema that answers must follow. */
export const SchemaField = ({ value, onInput }: { value: string; onInput(text: string): void }) => (
  <JsonField
    title="JSON schema"
    words="Answers of this chat are JSON that fits it; the server lets the model write nothing else."
    example={'{"type": "object",\n  "properties": {"name": {"type": "string"}}}'}
    read={readSchema}
    {...{ value, onInput }}
  />
);

const NUMBERS: [NumberSetting, string][] = [
  ['temperature', 'Temperature'],
  ['topP', 'Top p'],
  ['topK', 'Top k'],
  ['minP', 'Min p'],
  ['repetition', 'Repetition penalty'],
  ['frequency', 'Frequency penalty'],
  ['presence', 'Presence penalty'],
  ['seed', 'Seed'],
  ['maxTokens', 'Max tokens'],
];

/** All that decides how an answer is drawn. What is not set shows what the server takes then. */
export function SamplingFields({ settings, card, onChange }: { settings: Settings; card?: ModelCard; onChange: Field<0>['onChange'] }) {
  const fallback = (name: NumberSetting) => {
    if (name === 'seed') return 'random';
    if (name === 'maxTokens') return 'what fits';
    const known = card?.defaults[name];
    return known === undefined ? undefined : `${known} (default)`;
  };
  return (
    <fieldset class="grid">
      <legend>Sampling</legend>
      {NUMBERS.map(([name, label]) => (
        <NumberField key={name} name={name} label={label} value={settings[name]} fallback={fallback(name)} onChange={onChange} />
      ))}
      <StopField value={settings.stop} onChange={onChange} />
    </fieldset>
  );
}

/** Texts that end an answer, one a line. */
function StopField({ value, onChange }: Field<string[]>) {
  const [typed, setTyped] = useState<string>();
  return (
    <label class="whole">
      Stop at (one text a line, at most four)
      <textarea
        rows={2}
        class="mono"
        spellcheck={false}
        value={typed ?? showStops(value)}
        onInput={(event) => {
          setTyped(event.currentTarget.value);
          onChange({ stop: readStops(event.currentTarget.value) });
        }}
        onBlur={() => setTyped(undefined)}
      />
    </label>
  );
}

interface PresetProps {
  settings: Settings;
  /** The system prompt of this chat. */
  system: string;
  onChange: Field<0>['onChange'];
  onUse(preset: Preset): void;
}

/** System prompt and sampling under names, to be taken up again. */
export function PresetField({ settings, system, onChange, onUse }: PresetProps) {
  const [name, setName] = useState('');
  const { presets } = settings;
  const used = presets.find((preset) => preset.name === name);
  return (
    <fieldset class="presets">
      <legend>Presets</legend>
      <form
        class="key"
        onSubmit={(event) => {
          event.preventDefault();
          const title = name.trim();
          if (!title) return;
          const preset = { name: title, system, sampling: readSampling(settings) };
          onChange({ presets: [...presets.filter((other) => other.name !== title), preset] });
          setName('');
        }}
      >
        <label>
          Keep prompt and sampling as
          <input type="text" value={name} maxLength={100} placeholder="A name" onInput={(event) => setName(event.currentTarget.value)} />
        </label>
        <button type="submit" class="plain">
          {used ? 'Replace' : 'Keep'}
        </button>
      </form>
      {presets.length > 0 && (
        <ul>
          {presets.map((preset) => (
            <li key={preset.name}>
              <button type="button" class="plain" onClick={() => onUse(preset)}>
                {preset.name}
              </button>
              <button
                type="button"
                class="quiet"
                aria-label={`Remove the preset ${preset.name}`}
                onClick={() => onChange({ presets: presets.filter((other) => other !== preset) })}
              >
                ×
              </button>
            </li>
          ))}
        </ul>
      )}
      <button type="button" class="quiet" onClick={() => onChange(SAMPLING)}>
        Sampling as the model wants it
      </button>
    </fieldset>
  );
}

/** Something that is on or off, and what that means. */
export function CheckField({
  label,
  words,
  value,
  onChange,
}: {
  label: string;
  words: string;
  value: boolean;
  onChange(on: boolean): void;
}) {
  return (
    <div class="on-off">
      <label class="check">
        <input type="checkbox" checked={value} onChange={(event) => onChange(event.currentTarget.checked)} />
        <span>{label}</span>
      </label>
      <small>{words}</small>
    </div>
  );
}

function fault(read: () => unknown): string | undefined {
  try {
    read();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : 'not readable';
  }
}
