import { useEffect, useState } from 'preact/hooks';

/** Whole seconds since `on` became true; 0 while it is not. */
export function useSeconds(on: boolean): number {
  const [seconds, setSeconds] = useState(0);
  useEffect(() => {
    setSeconds(0);
    if (!on) return;
    const from = Date.now();
    const timer = setInterval(() => setSeconds(Math.floor((Date.now() - from) / 1000)), 500);
    return () => clearInterval(timer);
  }, [on]);
  return seconds;
}
