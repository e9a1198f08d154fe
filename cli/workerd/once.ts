/** Work that is begun when it is first wanted, and shared by all who want it. After a failure the next one begins it anew. */
export interface Once<T> {
  run(): Promise<T>;
  /** It was begun, and has not failed. */
  readonly begun: boolean;
  /** It has succeeded. */
  readonly done: boolean;
  /** Resolves when nothing of it is under way, however it ended. */
  settled(): Promise<void>;
}

export function once<T>(work: () => Promise<T>): Once<T> {
  let now: Promise<T> | undefined;
  let done = false;
  return {
    run() {
      now ??= work().then(
        (value) => {
          done = true;
          return value;
        },
        (error: unknown) => {
          now = undefined;
          throw error;
        },
      );
      return now;
    },
    get begun() {
      return now !== undefined;
    },
    get done() {
      return done;
    },
    async settled() {
      await now?.catch(() => {});
    },
  };
}
