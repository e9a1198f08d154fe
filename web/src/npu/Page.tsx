import { useEffect, useState } from 'preact/hooks';
import { Mark } from '../components/Mark.tsx';
import { Roofline } from './Roofline.tsx';
import { ask, figure, megabytes, percent, type Run, readRun, time } from './run.ts';
import { Simulate } from './Simulate.tsx';
import { Timeline } from './Timeline.tsx';

const LAST = 'The last prompt computed here';

function Table({ caption, rows, format }: { caption: string; rows: Record<string, number>; format: (v: number) => string }) {
  return (
    <table>
      <caption>{caption}</caption>
      <tbody>
        {Object.entries(rows).map(([name, v]) => (
          <tr key={name}>
            <th scope="row">{name}</th>
            <td>{format(v)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** What the accelerator did for a prompt: the last one of this server, or a simulated one. */
export function Page({ apiKey }: { apiKey: string }) {
  const [run, setRun] = useState<Run>();
  const [title, setTitle] = useState(LAST);
  const [problem, setProblem] = useState('');
  const showRun = (next: Run | undefined, name: string, why = '') => {
    setRun(next);
    setTitle(name);
    setProblem(why);
  };
  async function last(): Promise<void> {
    try {
      showRun(readRun(await (await ask('/v1/npu/report', apiKey)).json()), LAST);
    } catch (error) {
      showRun(undefined, LAST, error instanceof Error ? error.message : String(error));
    }
  }
  async function trace(): Promise<void> {
    try {
      const blob = await (await ask('/v1/npu/trace', apiKey)).blob();
      const url = URL.createObjectURL(blob);
      Object.assign(document.createElement('a'), { href: url, download: 'turnstone-trace.json' }).click();
      setTimeout(() => URL.revokeObjectURL(url), 10_000);
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
    }
  }
  useEffect(() => void last(), []);
  const { summary, device } = run ?? {};
  return (
    <main class="accelerator">
      <header>
        <h1>
          <Mark /> <span>Accelerator</span>
        </h1>
        <nav aria-label="Page">
          <a href="/">Chat</a>
          <button type="button" class="quiet" onClick={last}>
            Last prompt
          </button>
          <button type="button" class="quiet" onClick={trace}>
            Trace of it for Perfetto
          </button>
        </nav>
      </header>
      <Simulate apiKey={apiKey} onRun={showRun} onError={setProblem} />
      <h2>{title}</h2>
      {problem && (
        <p role="status">
          {problem} {!run && 'A prompt goes to the accelerator from 256 uncached tokens on, when it is estimated to be faster there.'}
        </p>
      )}
      {run && summary && device && (
        <>
          <p>
            {device.summary}. {run.chips > 1 ? `${run.chips} chips, column parallel` : 'One chip'}, {summary.launches} launches,{' '}
            <b>{time(summary.us)}</b> of device time{run.tokens ? ` for ${run.tokens} tokens` : ''}: {figure(summary.roofline.tops)} of{' '}
            {figure(summary.roofline.peakTops)} TOP/s a chip, {percent(summary.roofline.reached)} of what the roofline allows (
            {summary.roofline.bound} bound).
            {run.hostMs !== undefined && ` To simulate it took this machine ${figure(run.hostMs)} ms, another clock.`}
          </p>
          <Roofline run={run} />
          <Timeline run={run} />
          <section>
            <Table caption="Device time by part" rows={summary.parts} format={time} />
            <Table caption="Busy" rows={summary.busy} format={percent} />
            <Table caption="Moved" rows={summary.bytes} format={megabytes} />
          </section>
        </>
      )}
    </main>
  );
}
