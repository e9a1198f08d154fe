/** Reads a Prometheus page (text format 0.0.4): the values of a name's samples that have these labels. */
export function readMetrics(page: string): (name: string, labels: Readonly<Record<string, string>>) => number[] {
  const samples = [...page.matchAll(/^(\w+)(?:\{(.*)\})? (\S+)$/gm)].map(([, name, labels = '', value]) => ({
    name,
    labels: Object.fromEntries([...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, label, text]) => [label, text])),
    value: Number(value),
  }));
  return (name, labels) =>
    samples
      .filter((s) => s.name === name && Object.entries(labels).every(([label, text]) => s.labels[label] === text))
      .map(({ value }) => value);
}
