import { useCallback, useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';

const NEAR = 48; // px from the end that still count as the end

/**
 * Keeps the end of the page in view while `content` grows (null: there is none), until the reader scrolls up; scrolling back to the end takes it up again.
 * `away` is true while the end is out of view.
 */
export function useFollow(content: unknown): { away: boolean; toEnd(): void } {
  const following = useRef(true);
  const seen = useRef(0);
  const [away, setAway] = useState(false);

  const toEnd = useCallback(() => {
    following.current = true;
    window.scrollTo(0, document.documentElement.scrollHeight);
  }, []);

  useEffect(() => {
    const onScroll = () => {
      const { scrollHeight, clientHeight } = document.documentElement;
      const atEnd = scrollHeight - clientHeight - window.scrollY <= NEAR;
      // Only going up is a wish to stay: growing text moves the end away as well.
      if (atEnd) following.current = true;
      else if (window.scrollY < seen.current - 1) following.current = false;
      seen.current = window.scrollY;
      setAway(!atEnd && !following.current);
    };
    window.addEventListener('scroll', onScroll, { passive: true });
    return () => window.removeEventListener('scroll', onScroll);
  }, []);

  useLayoutEffect(() => {
    if (content !== null && following.current) toEnd();
  }, [content]);

  return { away, toEnd };
}
