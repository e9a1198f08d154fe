import type { Room } from '../context.ts';

const number = (n: number) => n.toLocaleString('en');

/** How much of the model's context is used. */
export function Gauge({ room }: { room: Room | undefined }) {
  if (!room) return null;
  const { used, total, left, full } = room;
  const words = full ? 'The context is full' : `${number(used)} of ${number(total)} tokens`;
  return (
    <p class="gauge" data-full={full} title={`What is sent takes ${number(used)} of the model’s ${number(total)} tokens`}>
      <meter min={0} max={total} high={total * 0.8} optimum={0} value={used} aria-label="Context used" />
      <span>
        {words}
        {!full && (
          <>
            , {number(left)} left<span class="wide-only"> for the answer</span>
          </>
        )}
      </span>
    </p>
  );
}
