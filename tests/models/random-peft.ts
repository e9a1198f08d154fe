/** A folder of PEFT with a random adapter of pebble's queries and values. */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { safetensors } from './small-model.ts';

const RANK = 4;
const LAYERS = 6;
const HIDDEN = 192;

export function randomPeft(seed: number): string {
  const to = mkdtempSync(join(tmpdir(), 'turnstone-peft-'));
  let x = seed;
  const draw = () => (x = (x * 48271) % 2147483647) / 2147483647 - 0.5;
  const tensors = new Map<string, { shape: number[]; data: Float32Array }>();
  for (let l = 0; l < LAYERS; l++) {
    for (const [name, N] of [
      ['q_proj', HIDDEN],
      ['v_proj', 64],
    ] as const) {
      const matrix = `base_model.model.model.layers.${l}.self_attn.${name}`;
      tensors.set(`${matrix}.lora_A.weight`, { shape: [RANK, HIDDEN], data: Float32Array.from({ length: RANK * HIDDEN }, draw) });
      tensors.set(`${matrix}.lora_B.weight`, { shape: [N, RANK], data: Float32Array.from({ length: RANK * N }, draw) });
    }
  }
  writeFileSync(join(to, 'adapter_model.safetensors'), safetensors(tensors));
  writeFileSync(join(to, 'adapter_config.json'), JSON.stringify({ peft_type: 'LORA', r: RANK, lora_alpha: 4 }));
  return to;
}
