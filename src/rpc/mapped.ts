/**
 * An iterable seen through a function: nothing is read ahead, so the transport's own windows hold back a fast writer.
 * Not a generator, because leaving one waits for the read under way, which on an idle stream never ends.
 */
export function mapped<From, To>(
  source: AsyncIterable<From>,
  map: (value: From) => To,
  refuse: (thrown: unknown) => unknown,
): AsyncIterable<To> {
  return {
    [Symbol.asyncIterator]() {
      const iterator = source[Symbol.asyncIterator]();
      return {
        async next(): Promise<IteratorResult<To, undefined>> {
          try {
            const result = await iterator.next();
            return result.done ? { done: true, value: undefined } : { done: false, value: map(result.value) };
          } catch (thrown) {
            leave(iterator);
            throw refuse(thrown);
          }
        },
        async return(): Promise<IteratorResult<To, undefined>> {
          leave(iterator);
          return { done: true, value: undefined };
        },
        // Connect asks this of a request stream, and calls it when writing to the connection fails.
        async throw(error: unknown): Promise<IteratorResult<To, undefined>> {
          leave(iterator);
          throw error;
        },
      };
    },
  };
}

function leave(iterator: AsyncIterator<unknown>): void {
  iterator.return?.().then(undefined, () => {});
}
