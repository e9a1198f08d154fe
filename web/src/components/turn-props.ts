import type { ComponentChildren } from 'preact';
import type { Turn } from '../turns.ts';

/** What every turn can do. `branches` is the way to its alternatives. */
export interface TurnProps {
  editing: boolean;
  branches: ComponentChildren;
  onEdit(id: string | null): void;
  onSave(turn: Turn, text: string): void;
}
