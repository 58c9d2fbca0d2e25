/** Work of equal keys at the same time is done once, by the caller that came first. */

/** How a flight ended for those who wait for it. */
type Ending<T> = { readonly value: T } | "failed" | "left";

/** Work under way, by key. As many as there are callers at most. */
export type Flights<T> = Map<string, Promise<Ending<T>>>;

/**
 * What `work` gives, or what the same key's work gives that is under way already. Each caller's end is its own: whoever
 * does the work may be cancelled, and one of those who wait takes over; whoever waits may be cancelled, and nobody else
 * notices. Errors are not shared either, as they may speak of the run that they came up in: once another's work failed,
 * a caller does its own. Rejects with the signal's reason as soon as it aborts.
 */
export async function once<T>(
  flights: Flights<T>,
  key: string,
  work: () => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  for (let other = flights.get(key); other; other = flights.get(key)) {
    const ending = await unlessAborted(other, signal);
    if (ending === "failed") return await unlessAborted(work(), signal);
    if (ending !== "left") return ending.value;
  }
  signal?.throwIfAborted();
  const own = unlessAborted(work(), signal);
  const flight: Promise<Ending<T>> = own
    .then(
      (value) => ({ value }),
      () => (signal?.aborted ? "left" : "failed"),
    )
    .finally(() => flights.delete(key));
  flights.set(key, flight);
  return await own;
}

/** The promise's own end, or the signal's reason as soon as it aborts; its later end is then nobody's. */
function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  return new Promise<T>((resolve, reject) => {
    if (signal.aborted) reject(signal.reason);
    const onAbort = () => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}
