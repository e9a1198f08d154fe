/** A first prompt; `shown` is its short form, `tools` what the model may call (JSON, as in the API). */
export interface Example {
  skill: string;
  prompt: string;
  shown?: string;
  tools?: string;
}

const SCHEMA =
  '{"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "city": {"type": "string"}}, "required": ["name", "age", "city"]}';

const WEATHER = `[{
  "type": "function",
  "function": {
    "name": "get_weather",
    "description": "Get the weather in a city.",
    "parameters": {
      "type": "object",
      "properties": {"city": {"type": "string"}},
      "required": ["city"]
    }
  }
}]`;

/** What the small shipped model does well. A test asks each twenty times, at the model's own sampling, and wants twenty right answers. */
export const PEBBLE: Example[] = [
  { skill: 'Read', prompt: 'Tom found 14 shells on the beach. The boat of Tom is red.\n\nHow many shells did Tom find?' },
  {
    skill: 'Extract',
    shown: 'Turn a sentence about Nora into JSON, by a schema.',
    prompt: `Turn this text into JSON.\nSchema: ${SCHEMA}\nText: This is Nora Blake. The age is 34. Lives in Bergen.`,
  },
  { skill: 'Call', shown: 'What is the weather in Bergen? With a tool to ask.', prompt: 'What is the weather in Bergen?', tools: WEATHER },
  { skill: 'Reckon', prompt: 'Mia has 46 shells. Tom gives Mia 27 more. How many shells does Mia have now?' },
  { skill: 'Count', prompt: 'How many items are in this list: apple, pear, fig, plum?' },
  { skill: 'Reverse', prompt: 'Reverse this list: apple, pear, fig' },
];

/** For a model of which nothing is known. */
export const GENERAL: Example[] = [
  { skill: 'Explain', prompt: 'Explain in three sentences why the sky is blue.' },
  { skill: 'Write', prompt: 'Write a short, friendly message that moves a meeting from Monday to Tuesday.' },
  { skill: 'Code', prompt: 'Write a function in Python that says whether a word is a palindrome.' },
  { skill: 'List', prompt: 'Name five things to pack for a weekend at the sea.' },
  { skill: 'Call', shown: 'What is the weather in Bergen? With a tool to ask.', prompt: 'What is the weather in Bergen?', tools: WEATHER },
];

export const examplesFor = (model: string | undefined): Example[] => (model === undefined || model === 'pebble' ? PEBBLE : GENERAL);
