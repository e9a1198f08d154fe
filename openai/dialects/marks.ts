/**
 * A private-use character inside tags that the server itself writes into a message, after their first one: what keeps a client's text
 * from spelling control tokens does not find them then, and it is taken out of the whole text at its end.
 */
const MARK = '\uE0FE';

export const marked = (tag: string): string => tag[0] + MARK + tag.slice(1);

/** The tags as they are. */
export const unmark = (text: string): string => text.replaceAll(MARK, '');

/** Without marks of the client's own. */
export function unmarked<T>(value: T): T {
  const json = JSON.stringify(value);
  return json.includes(MARK) ? (JSON.parse(unmark(json)) as T) : value;
}
