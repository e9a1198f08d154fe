/** Rows of cells as aligned lines; columns whose first row is a number (or a size, or empty) go to the right. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const all = [header, ...rows];
  const widths = header.map((_, i) => Math.max(...all.map((r) => (r[i] ?? '').length)));
  const right = header.map((_, i) => rows.every((r) => /^[\d.,%–-]*( ?[KMG]?B)?$/.test(r[i] ?? '')));
  return all.map((r) =>
    widths
      .map((w, i) => (right[i] ? (r[i] ?? '').padStart(w) : (r[i] ?? '').padEnd(w)))
      .join('  ')
      .trimEnd(),
  );
}

/** Bytes for people. */
export function size(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < 1024 ** 2) return `${(bytes / 1024).toFixed(1)} KB`;
  if (bytes < 1024 ** 3) return `${(bytes / 1024 ** 2).toFixed(1)} MB`;
  return `${(bytes / 1024 ** 3).toFixed(2)} GB`;
}

export const percent = (x: number): string => (x === 0 ? '0' : `${(100 * x).toPrecision(2)}%`);
export const shape = (dims: readonly number[]): string => dims.join(' × ');
export const count = (n: number): string => n.toLocaleString('en-US');
