/**
 * For a process that the launcher starts: it ends when the launcher says so or is gone, also while it still starts. Returns how it
 * tells the launcher something.
 */
export function serveLauncher(stop: () => Promise<unknown>): (message: object) => void {
  const end = () => void stop().finally(() => process.exit(0));
  process.on('SIGTERM', end);
  process.on('SIGINT', () => {}); // the launcher decides
  process.on('disconnect', end); // the launcher is gone
  return (message) => {
    if (process.connected) process.send!(message, () => {});
  };
}
