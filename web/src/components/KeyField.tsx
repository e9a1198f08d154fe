import { useState } from 'preact/hooks';

/** Takes an API key. */
export function KeyField({ onKey, initial = '' }: { onKey(key: string): void; initial?: string }) {
  const [key, setKey] = useState(initial);
  return (
    <form
      class="key"
      onSubmit={(event) => {
        event.preventDefault();
        onKey(key.trim());
      }}
    >
      <label>
        API key
        <input
          type="password"
          value={key}
          autocomplete="off"
          spellcheck={false}
          placeholder="sk-…"
          onInput={(event) => setKey(event.currentTarget.value)}
        />
      </label>
      <button type="submit" class="plain">
        Use key
      </button>
    </form>
  );
}
