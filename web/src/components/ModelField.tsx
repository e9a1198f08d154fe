import type { ModelCard } from '../api.ts';
import { count } from '../card.ts';
import { modelOf } from '../chat.ts';
import type { Settings } from '../settings.ts';
import type { State } from '../state.ts';

interface Props {
  state: State;
  card: ModelCard | undefined;
  onChange(settings: Partial<Settings>): void;
}

/** What a model is for, where the page knows it. */
const FOR: Record<string, string> = {
  pebble: 'For trying things out: short facts, sums, lists, JSON and tool calls. It is often wrong outside them.',
};

/** Which model answers, what it is for and how large it is. A server with several shows them all here. */
export function ModelField({ state, card, onChange }: Props) {
  const { models } = state;
  const model = modelOf(state);
  const context = models.find(({ id }) => id === model)?.context;
  const facts = [
    card?.parameters && `${count(card.parameters)} parameters`,
    card?.bytes && `${(card.bytes / 1e6).toFixed(1)} MB`,
    context && `${context.toLocaleString('en')} tokens of context`,
  ];
  return (
    <label>
      Model
      <select value={model} disabled={models.length < 2} onChange={(event) => onChange({ model: event.currentTarget.value })}>
        {models.length === 0 && <option>{model ?? 'not known yet'}</option>}
        {models.map(({ id }) => (
          <option key={id} value={id}>
            {id}
          </option>
        ))}
      </select>
      {facts.some(Boolean) && <small>{facts.filter(Boolean).join(', ')}.</small>}
      {model && FOR[model] && <small>{FOR[model]}</small>}
    </label>
  );
}
