/** A first prompt; `shown` is its short form, `tools` what the model may call (JSON, as in the API). */
export interface Example {
  skill: string;
  prompt: string;
  shown?: string;
  tools?: string;
}

const PASSAGE =
  'Nora Blake works as a teacher in Bergen. It was a cold day. Her friend Tom found 14 shells on the beach. The boat of Tom is red. The wind blew through the trees, and the road was empty. Nora has a small dog named Pip.';

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

/** One for each thing the small shipped model does well. */
export const EXAMPLES: Example[] = [
  { skill: 'Read', shown: 'How many shells did Tom find? From a short passage.', prompt: `${PASSAGE}\n\nHow many shells did Tom find?` },
  {
    skill: 'Extract',
    shown: 'Turn a sentence about Nora into JSON, by a schema.',
    prompt: `Turn this text into JSON.\nSchema: ${SCHEMA}\nText: This is Nora Blake. The age is 34. Lives in Bergen.`,
  },
  { skill: 'Call', shown: 'What is the weather in Bergen? With a tool to ask.', prompt: 'What is the weather in Bergen?', tools: WEATHER },
  { skill: 'Reckon', prompt: 'Mia has 46 shells. Tom gives Mia 27 more. How many shells does Mia have now?' },
  { skill: 'Sort', prompt: 'Sort these words from A to Z: tide, gull, pebble, anchor, shore' },
  { skill: 'Tell', prompt: 'Write a short story with the words bird, stone and boat.' },
];
