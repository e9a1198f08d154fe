import { Guard } from './guard.ts';
import { Sockets } from './sockets.ts';

/** What all processes of one server share: the folder of their sockets, and the guard that ends them with the launcher. */
export interface Home {
  sockets: Sockets;
  guard: Guard;
  /** When all have ended. */
  close(): void;
}

export function openHome(): Home {
  const sockets = new Sockets();
  const guard = new Guard(sockets.folder);
  return {
    sockets,
    guard,
    close() {
      guard.close();
      sockets.remove();
    },
  };
}
