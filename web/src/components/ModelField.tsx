import { count } from '../card.ts';
import { modelOf } from '../chat.ts';
import type { Settings } from '../settings.ts';
import type { State } from '../state.ts';
import type { Model, ModelCard } from '../transport.ts';

interface Props {
  state: State;
  card: ModelCard | undefined;
  onChange(settings: Partial<Settings>): void;
}

/** What a model is for, where the page knows it. */
const FOR: Record<string, string> = {
  pebble: 'For trying things out: short facts, sums, lists, JSON and tool calls. It is often wrong outside them.',
};

const sizeOf = (bytes: number) => (bytes < 1e9 ? `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB` : `${(bytes / 1e9).toFixed(1)} GB`);
const STATES = { loaded: '', loading: 'loading', cold: 'not loaded' };

/** Models with what tells them apart: size and state. */
export function ModelOptions({ models }: { models: readonly Model[] }) {
  return models.map(({ id, bytes, state }) => {
    const more = [bytes && sizeOf(bytes), state && STATES[state]].filter(Boolean).join(', ');
    return (
      <option key={id} value={id}>
        {more ? `${id} (${more})` : id}
      </option>
    );
  });
}

/** Which model answers, what it is for and how large it is. A server with several shows them all here. */
export function ModelField({ state, card, onChange }: Props) {
  const { models } = state;
  const model = modelOf(state);
  const entry = models.find(({ id }) => id === model);
  const context = entry?.context;
  const bytes = card?.bytes ?? entry?.bytes;
  const about = entry?.about ?? (model && FOR[model]);
  const facts = [
    card?.parameters && `${count(card.parameters)} parameters`,
    bytes && sizeOf(bytes),
    context && `${context.toLocaleString('en')} tokens of context`,
  ];
  return (
    <label>
      Model
      <select value={model} disabled={models.length < 2} onChange={(event) => onChange({ model: event.currentTarget.value })}>
        {models.length === 0 && <option>{model ?? 'not known yet'}</option>}
        <ModelOptions models={models} />
      </select>
      {facts.some(Boolean) && <small>{facts.filter(Boolean).join(', ')}.</small>}
      {entry?.state === 'cold' && <small>Not loaded: the first answer waits for it.</small>}
      {about && <small>{about}</small>}
    </label>
  );
}
