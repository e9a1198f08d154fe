import { useState } from 'preact/hooks';
import { ask, type Run, readRun } from './run.ts';

const MODELS = ['pebble', 'smollm2-135m', 'qwen2.5-0.5b', 'llama-3-8b'];
const DEVICES = ['maia-200', 'maia-100', 'edge-npu'];
const PROMPTS = ['128', '512', '1024', '2048'];
const NUMBERS = ['w4', 'w8', 'bf16', 'fp8'];
const CHIPS = ['1', '2', '4', '8'];

interface Props {
  apiKey: string;
  onRun(run: Run, title: string): void;
  onError(message: string): void;
}

/** Times a prompt of a model's shape on a device: no weights are needed. */
export function Simulate({ apiKey, onRun, onError }: Props) {
  const [choice, setChoice] = useState({ model: 'smollm2-135m', device: 'maia-200', prompt: '512', numbers: 'w4', chips: '1', fuse: true });
  const [busy, setBusy] = useState(false);
  const select = (name: 'model' | 'device' | 'prompt' | 'numbers' | 'chips', label: string, options: string[]) => (
    <label>
      {label}
      <select value={choice[name]} onChange={(e) => setChoice({ ...choice, [name]: e.currentTarget.value })}>
        {options.map((o) => (
          <option key={o}>{o}</option>
        ))}
      </select>
    </label>
  );
  async function simulate(event: Event): Promise<void> {
    event.preventDefault();
    setBusy(true);
    const { model, device, prompt, numbers, chips, fuse } = choice;
    try {
      const body = { model, device, numbers, fuse, prompt: Number(prompt), chips: Number(chips), report: true };
      const answer = (await (await ask('/v1/npu/simulate', apiKey, body)).json()) as { report?: unknown };
      onRun(readRun(answer.report), `${prompt} tokens of ${model}, ${numbers}, simulated`);
    } catch (error) {
      onError(error instanceof Error ? error.message : String(error));
    }
    setBusy(false);
  }
  return (
    <form onSubmit={simulate}>
      {select('model', 'Model', MODELS)}
      {select('device', 'Device', DEVICES)}
      {select('prompt', 'Prompt', PROMPTS)}
      {select('numbers', 'Numbers', NUMBERS)}
      {select('chips', 'Chips', CHIPS)}
      <label class="check">
        <input type="checkbox" checked={choice.fuse} onChange={(e) => setChoice({ ...choice, fuse: e.currentTarget.checked })} />
        Fusion
      </label>
      <button type="submit" disabled={busy}>
        {busy ? 'Simulating…' : 'Simulate'}
      </button>
    </form>
  );
}
