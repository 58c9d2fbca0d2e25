/** How long and how often `until` looks. */
export interface UntilOptions {
  /** Gives up after this many milliseconds; 10,000 if not given. */
  timeoutMs?: number;
  /** Looks again after this many milliseconds; 10 if not given. */
  everyMs?: number;
  /** What is being waited for, for the error's text. */
  what: string;
}

type Falsy = false | 0 | "" | null | undefined;

/**
 * Waits until `condition` gives something truthy, and returns that. A condition that throws ends the wait.
 * Throws an Error that says what was waited for, and what the condition gave last, when the time is up.
 */
export async function until<T>(condition: () => T | Promise<T>, options: UntilOptions): Promise<Exclude<T, Falsy>> {
  const { timeoutMs = 10_000, everyMs = 10, what } = options;
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const value = await condition();
    if (value) return value as Exclude<T, Falsy>;
    if (performance.now() >= deadline) {
      throw new Error(`waited ${timeoutMs} ms for ${what}; last seen: ${String(value)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}
