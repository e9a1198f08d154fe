/** Real files, where a machine has them: every number kept, in no more room than the file takes. */
import { statSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { REAL_MODELS, type RealName, realModel } from '../../bench/real-models.ts';
import { chooseFormat } from '../../models/model.ts';
import { openModel } from '../../models/node/files.ts';
import { Loss, packedBytes, packedPieces } from '../../models/quantize/convert.ts';

const [SMOLLM2, QWEN] = (['smollm2', 'qwen-coder'] as const).map((name) => ({ name, ...realModel(name) }));

describe.each([
  [SMOLLM2, ['f32', 'q4_1', 'w8']],
  [QWEN, ['f32', 'q4_k', 'q5_0', 'q6_k', 'w8']],
] as const)('$name', (model: { name: RealName; path: string; missing?: string }, formats) => {
  it.skipIf(model.missing)(
    `${REAL_MODELS[model.name].file} keeps its numbers${model.missing ? ` (skipped: ${model.missing})` : ''}`,
    async () => {
      const files = await openModel(model.path);
      try {
        const formatOf = (t: (typeof files.tensors)[number]) => chooseFormat(files, t, {});
        expect([...new Set(files.tensors.map(formatOf))].sort()).toEqual(formats);
        const bytes = files.tensors.reduce((n, t) => n + packedBytes(t, formatOf(t)), 0);
        expect(bytes).toBeLessThan(1.02 * statSync(model.path).size);
        const loss = new Loss();
        for (const t of files.tensors.filter((x) => x.layer < 1 && x.kind !== 'embed' && x.kind !== 'head'))
          for await (const _ of packedPieces(t, formatOf(t), loss));
        expect(loss.power).toBe(0); // nothing was rounded, so nothing was compared
      } finally {
        await files.close();
      }
    },
  );
});
