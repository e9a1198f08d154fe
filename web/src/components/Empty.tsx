import { count } from '../card.ts';
import { examplesFor } from '../examples.ts';
import type { ModelCard } from '../transport.ts';
import { Mark } from './Mark.tsx';

interface Props {
  model: string | undefined;
  card: ModelCard | undefined;
  /** The engine runs in this page. */
  onDevice: boolean;
  onPick(prompt: string, tools?: string): void;
}

/** What a new chat shows: who answers, from where, and a few things it does well. */
export function Empty({ model, card, onDevice, onPick }: Props) {
  const size = card?.parameters ? ` (${count(card.parameters)} parameters)` : '';
  return (
    <section class="empty" aria-labelledby="welcome">
      <Mark />
      <h2 id="welcome">Turn something over.</h2>
      <p>
        {model ? <strong>{model}</strong> : 'The model'}
        {size}{' '}
        {onDevice
          ? 'runs on this device, in this page: nothing you write leaves it.'
          : 'runs inside a Worker at the edge: one thread, no GPU, nothing else to call.'}
      </p>
      <ul>
        {examplesFor(model).map(({ skill, shown, prompt, tools }) => (
          <li key={skill}>
            <button type="button" onClick={() => onPick(prompt, tools)}>
              <span class="skill">{skill}</span>
              <span class="prompt">{shown ?? prompt.replaceAll('\n', ' ')}</span>
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
