import { useEffect, useState } from 'preact/hooks';

const query = () => matchMedia('(min-width: 60rem)');

/** Whether the list of chats has room beside the chat. */
export function useWide(): boolean {
  const [wide, setWide] = useState(query().matches);
  useEffect(() => {
    const list = query();
    const look = () => setWide(list.matches);
    list.addEventListener('change', look);
    return () => list.removeEventListener('change', look);
  }, []);
  return wide;
}
