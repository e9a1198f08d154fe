const EVERY_MS = 10_000;

/**
 * How far a command is, on the error output: on a terminal one line, which the next replaces; elsewhere a line every ten seconds, so that a log
 * stays short. Called without one, it takes away what it showed.
 */
export function progress(out: Pick<NodeJS.WriteStream, 'isTTY' | 'write'> = process.stderr): (line?: string) => void {
  let last = performance.now();
  return (line) => {
    if (out.isTTY) return void out.write(`\r\x1b[K${line ?? ''}`);
    if (!line || performance.now() - last < EVERY_MS) return;
    last = performance.now();
    out.write(`${line}\n`);
  };
}
