/** What people ask, in a few kinds: facts, writing, sums, code, other languages. One turn each, as the chat API would put it. */

import { openModel } from '../../models/node/files.ts';
import { compileTemplate } from '../../models/template.ts';
import { createTokenizer } from '../../models/tokenizer/tokenizer.ts';

export const PROMPTS = [
  'What is the capital of France?',
  'Explain in two sentences why the sky is blue.',
  'Write a short poem about a lighthouse in winter.',
  'Give me three tips for learning to cook.',
  'Who wrote Pride and Prejudice, and when?',
  'Summarize the story of Romeo and Juliet in one paragraph.',
  'Translate to Spanish: The train leaves at nine in the morning.',
  'What is 17 times 6? Show the steps.',
  'List five animals that live in the desert.',
  'My plant has yellow leaves. What might be wrong?',
  'Write a polite email that asks a landlord to repair the heating.',
  'What is the difference between a virus and a bacterium?',
  'Write a Python function that checks whether a string is a palindrome.',
  'Write a SQL query that finds the ten customers with the highest total of orders.',
  'What does this do? for (let i = 0; i < a.length; i++) s += a[i];',
  'Fix this Python: def add(a, b) return a + b',
  'Write a regular expression that matches an ISO date such as 2024-03-01.',
  'How do I undo the last commit in git without losing my changes?',
  'Was ist der Unterschied zwischen Wetter und Klima?',
  'Turn this into JSON with name, age and city: Ana is 31 and lives in Porto.',
] as const;

/** The prompts as token ids: under the model's own chat template, as they are where the file has none. */
export async function chatPrompts(path: string): Promise<number[][]> {
  const model = await openModel(path);
  try {
    const tokenizer = createTokenizer(model.tokenizer);
    if (model.chatTemplate === undefined) return PROMPTS.map((content) => [...tokenizer.encode(content)]);
    const text = (id: number | undefined) => (id === undefined ? '' : tokenizer.decode([id], { skipSpecial: false }));
    const template = compileTemplate(model.chatTemplate, { bos: text(tokenizer.bos), eos: text(tokenizer.eos) });
    return PROMPTS.map((content) => {
      const asked = template.render({ messages: [{ role: 'user', content }], addGenerationPrompt: true });
      return [...tokenizer.encode(asked, { special: true, bos: false })];
    });
  } finally {
    await model.close();
  }
}
