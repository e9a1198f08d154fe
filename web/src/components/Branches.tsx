import { siblings, type Turn } from '../turns.ts';
import { Icon } from './Icon.tsx';

/** Which of a turn's alternatives is shown, and the way to the others. Nothing where there is one. */
export function Branches({ turns, turn, onPick }: { turns: readonly Turn[]; turn: Turn; onPick(id: string): void }) {
  const all = siblings(turns, turn);
  if (all.length < 2) return null;
  const at = all.findIndex((other) => other.id === turn.id);
  const step = (by: number, label: string, icon: 'left' | 'right') => (
    <button
      type="button"
      class="quiet"
      aria-label={label}
      title={label}
      aria-disabled={!all[at + by]}
      onClick={() => all[at + by] && onPick(all[at + by].id)}
    >
      <Icon name={icon} />
    </button>
  );
  return (
    <span class="branches">
      {step(-1, 'Earlier version', 'left')}
      <span>
        {at + 1}/{all.length}
      </span>
      {step(1, 'Later version', 'right')}
    </span>
  );
}
