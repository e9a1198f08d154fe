import { EXAMPLES } from '../examples.ts';
import { Mark } from './Mark.tsx';

/** What a new chat shows: who answers, from where, and a few things it does well. */
export function Empty({ model, onPick }: { model: string | undefined; onPick(prompt: string, tools?: string): void }) {
  return (
    <section class="empty" aria-labelledby="welcome">
      <Mark />
      <h2 id="welcome">Turn something over.</h2>
      <p>{model ? <strong>{model}</strong> : 'The model'} runs inside a Worker at the edge: one thread, no GPU, nothing else to call.</p>
      <ul>
        {EXAMPLES.map(({ skill, shown, prompt, tools }) => (
          <li key={skill}>
            <button type="button" onClick={() => onPick(prompt, tools)}>
              <span class="skill">{skill}</span>
              <span class="prompt">{shown ?? prompt}</span>
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
