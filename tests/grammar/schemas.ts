/** Twenty schemas of the kinds that clients send, between them every keyword that is enforced. */

const str = { type: 'string', maxLength: 24 };
const person = {
  type: 'object',
  properties: { name: { type: 'string', minLength: 1, maxLength: 20 }, age: { type: 'integer', minimum: 0, maximum: 130 } },
  required: ['name', 'age'],
  additionalProperties: false,
};

export const schemas: [name: string, schema: Record<string, unknown>][] = [
  ['a flat object', person],
  [
    'optional properties',
    {
      type: 'object',
      properties: { a: str, b: { type: 'boolean' }, c: { type: 'null' }, d: { type: 'number' } },
      required: ['b'],
      additionalProperties: false,
    },
  ],
  [
    'nested objects',
    {
      type: 'object',
      properties: {
        who: person,
        where: {
          type: 'object',
          properties: { city: str, zip: { type: 'string', pattern: '^\\d{5}$' } },
          required: ['city', 'zip'],
          additionalProperties: false,
        },
      },
      required: ['who', 'where'],
      additionalProperties: false,
    },
  ],
  [
    'an array of objects',
    {
      type: 'object',
      properties: { items: { type: 'array', items: person, minItems: 1, maxItems: 4 } },
      required: ['items'],
      additionalProperties: false,
    },
  ],
  [
    'enums and consts',
    {
      type: 'object',
      properties: {
        unit: { enum: ['celsius', 'fahrenheit', 'kelvin'] },
        v: { const: 2 },
        mixed: { enum: [1, 'one', null, true, [1, 2], { a: 'é' }] },
      },
      required: ['unit', 'v', 'mixed'],
      additionalProperties: false,
    },
  ],
  [
    'number ranges',
    {
      type: 'object',
      properties: {
        p: { type: 'number', minimum: 0, maximum: 1 },
        t: { type: 'number', exclusiveMinimum: -273.15 },
        n: { type: 'integer', exclusiveMaximum: 1000, minimum: -50 },
        m: { type: 'integer', multipleOf: 5, minimum: 0, maximum: 500 },
        q: { type: 'number', multipleOf: 0.25, minimum: 0, maximum: 8 },
      },
      required: ['p', 't', 'n', 'm', 'q'],
      additionalProperties: false,
    },
  ],
  [
    'plain numbers',
    { type: 'object', properties: { x: { type: 'number' }, y: { type: 'integer' } }, required: ['x', 'y'], additionalProperties: false },
  ],
  [
    'string lengths',
    {
      type: 'object',
      properties: {
        code: { type: 'string', minLength: 3, maxLength: 3 },
        long: { type: 'string', minLength: 30, maxLength: 60 },
        none: { type: 'string', maxLength: 0 },
      },
      required: ['code', 'long', 'none'],
      additionalProperties: false,
    },
  ],
  [
    'patterns',
    {
      type: 'object',
      properties: {
        sku: { type: 'string', pattern: '^[A-Z]{2,4}-\\d{3,6}$' },
        hex: { type: 'string', pattern: '^(0x)?[0-9a-f]{1,8}$' },
        path: { type: 'string', pattern: '^(/[^/\\s"]{1,8}){1,4}$' },
        any: { type: 'string', pattern: 'e', maxLength: 12 },
      },
      required: ['sku', 'hex', 'path', 'any'],
      additionalProperties: false,
    },
  ],
  [
    'dates and times',
    {
      type: 'object',
      properties: {
        day: { type: 'string', format: 'date' },
        at: { type: 'string', format: 'date-time' },
        time: { type: 'string', format: 'time' },
      },
      required: ['day', 'at', 'time'],
      additionalProperties: false,
    },
  ],
  [
    'names and addresses',
    {
      type: 'object',
      properties: {
        id: { type: 'string', format: 'uuid' },
        ip: { type: 'string', format: 'ipv4' },
        ip6: { type: 'string', format: 'ipv6' },
        mail: { type: 'string', format: 'email', maxLength: 40 },
      },
      required: ['id', 'ip', 'ip6', 'mail'],
      additionalProperties: false,
    },
  ],
  [
    'alternatives',
    {
      type: 'object',
      properties: {
        v: {
          anyOf: [
            { type: 'integer', minimum: 10, maximum: 20 },
            { type: 'string', maxLength: 5 },
            { type: 'array', items: { type: 'boolean' }, maxItems: 3 },
            { type: 'null' },
          ],
        },
      },
      required: ['v'],
      additionalProperties: false,
    },
  ],
  [
    'a tagged union',
    {
      oneOf: [
        {
          type: 'object',
          properties: { kind: { const: 'circle' }, r: { type: 'number', exclusiveMinimum: 0 } },
          required: ['kind', 'r'],
          additionalProperties: false,
        },
        {
          type: 'object',
          properties: { kind: { const: 'box' }, w: { type: 'integer' }, h: { type: 'integer' } },
          required: ['kind', 'w', 'h'],
          additionalProperties: false,
        },
      ],
    },
  ],
  [
    'a recursive object',
    {
      $defs: {
        node: {
          type: 'object',
          properties: {
            value: { type: 'integer', minimum: 0, maximum: 99 },
            children: { type: 'array', items: { $ref: '#/$defs/node' }, maxItems: 1 },
          },
          required: ['value', 'children'],
          additionalProperties: false,
        },
      },
      $ref: '#/$defs/node',
    },
  ],
  [
    'a linked list',
    {
      type: 'object',
      properties: { head: { $ref: '#/$defs/cell' } },
      required: ['head'],
      additionalProperties: false,
      $defs: {
        cell: {
          anyOf: [
            { type: 'null' },
            {
              type: 'object',
              properties: { v: { type: 'boolean' }, next: { $ref: '#/$defs/cell' } },
              required: ['v', 'next'],
              additionalProperties: false,
            },
          ],
        },
      },
    },
  ],
  [
    'a map',
    {
      type: 'object',
      additionalProperties: { type: 'integer', minimum: 0, maximum: 9 },
      propertyNames: { pattern: '^[a-z]{1,6}$' },
      maxProperties: 5,
      minProperties: 1,
    },
  ],
  [
    'declared and other properties',
    {
      type: 'object',
      properties: { id: { type: 'integer', minimum: 1, maximum: 9 } },
      required: ['id'],
      propertyNames: { maxLength: 12 },
      additionalProperties: { type: 'boolean' },
      maxProperties: 4,
    },
  ],
  [
    'patterned properties',
    {
      type: 'object',
      properties: { s_main: { type: 'string', minLength: 1 } },
      patternProperties: {
        '^s_[a-z]{1,5}$': { type: 'string', maxLength: 8 },
        '^n_[a-z]{1,5}$': { type: 'integer', maximum: 3, minimum: -3 },
      },
      additionalProperties: false,
      maxProperties: 4,
    },
  ],
  [
    'tuples',
    {
      type: 'array',
      prefixItems: [
        { type: 'string', maxLength: 6 },
        { type: 'integer', minimum: 0, maximum: 5 },
      ],
      items: { type: 'boolean' },
      minItems: 3,
      maxItems: 6,
    },
  ],
  [
    'allOf, and types in a list',
    {
      allOf: [
        { type: 'object', properties: { a: { type: ['integer', 'null'] }, b: { type: 'string' } } },
        { properties: { a: { minimum: 5, maximum: 50 }, b: { maxLength: 10, minLength: 2 } }, required: ['a'] },
      ],
      required: ['b'],
    },
  ],
];
