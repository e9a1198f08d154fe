/** First prompts, one for each thing the small shipped model does well. */
export const EXAMPLES: { skill: string; prompt: string }[] = [
  {
    skill: 'Read',
    prompt:
      'Read the text and answer the question.\n\nThe lighthouse at Skerry Point was built in 1871 by Ada Moran. Its lamp could be seen for nineteen miles. In 1940 the keeper, Tom Reyes, painted the tower red.\n\nWho built the lighthouse?',
  },
  { skill: 'Extract', prompt: 'Write the name, age and city as JSON: Nora Blake is 34 years old and lives in Bergen.' },
  { skill: 'Reckon', prompt: 'A boat has 24 seats. 17 people get on. How many seats are free?' },
  { skill: 'Sort', prompt: 'Sort these words from A to Z: tide, gull, pebble, anchor, shore' },
  { skill: 'Tell', prompt: 'Write a short story with the words bird, stone and rain.' },
];
