import { useState } from 'preact/hooks';
import type { ToolCall } from '../transport.ts';

interface Props {
  calls: ToolCall[];
  /** Whether results are still awaited. */
  open: boolean;
  onResults(results: { callId: string; name: string; text: string }[]): void;
}

/** The tools an answer asks for. The reader plays the tool: what is typed here goes back as its result. */
export function Calls({ calls, open, onResults }: Props) {
  const [results, setResults] = useState<string[]>([]);
  return (
    <form
      class="calls"
      onSubmit={(event) => {
        event.preventDefault();
        onResults(calls.map((call, i) => ({ callId: call.id, name: call.name, text: results[i] ?? '' })));
      }}
    >
      {calls.map((call, i) => (
        <div key={call.id || i} class="call">
          <p>
            Calls <code>{call.name}</code>
          </p>
          <pre>
            <code>{pretty(call.arguments)}</code>
          </pre>
          {open && (
            <label>
              Its result
              <input
                type="text"
                value={results[i] ?? ''}
                placeholder='{"ok": true}'
                autocomplete="off"
                onInput={(event) => setResults(calls.map((_, k) => (k === i ? event.currentTarget.value : (results[k] ?? ''))))}
              />
            </label>
          )}
        </div>
      ))}
      {open && (
        <button type="submit" class="plain">
          Send {calls.length > 1 ? 'results' : 'result'}
        </button>
      )}
    </form>
  );
}

function pretty(json: string): string {
  try {
    return JSON.stringify(JSON.parse(json), null, 2);
  } catch {
    return json;
  }
}
