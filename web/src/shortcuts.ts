/** Keys that work anywhere on the page. Ctrl is Cmd on a Mac. */
export const SHORTCUTS = [
  { keys: 'Enter', what: 'Send' },
  { keys: 'Shift+Enter', what: 'New line' },
  { keys: '↑', what: 'In an empty box: edit the last question' },
  { keys: 'Esc', what: 'Stop the answer' },
  { keys: 'Ctrl+Shift+O', what: 'New chat' },
  { keys: 'Ctrl+K', what: 'Search chats' },
  { keys: 'Ctrl+B', what: 'Show or hide the list of chats' },
  { keys: 'Alt+↑, Alt+↓', what: 'Next newer, next older chat' },
  { keys: 'Ctrl+,', what: 'Settings' },
  { keys: 'Ctrl+/', what: 'This list' },
] as const;

export type Command = 'new' | 'search' | 'list' | 'settings' | 'help' | 'newer' | 'older' | 'stop';

/** What a key asks for; undefined when it is none of the page's. */
export function commandOf(
  event: Pick<KeyboardEvent, 'key' | 'ctrlKey' | 'metaKey' | 'shiftKey' | 'altKey' | 'isComposing'>,
): Command | undefined {
  if (event.isComposing) return undefined;
  const ctrl = event.ctrlKey || event.metaKey;
  const key = event.key.toLowerCase();
  if (key === 'escape') return 'stop';
  if (event.altKey && !ctrl) return key === 'arrowup' ? 'newer' : key === 'arrowdown' ? 'older' : undefined;
  if (!ctrl || event.altKey) return undefined;
  if (event.shiftKey) return key === 'o' ? 'new' : undefined;
  return ({ k: 'search', b: 'list', ',': 'settings', '/': 'help' } as Partial<Record<string, Command>>)[key];
}
