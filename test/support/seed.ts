/** The seed that AGENTMATIC_TEST_SEED gives; undefined if it is not set. Throws an Error if it is not a number. */
export function givenSeed(): number | undefined {
  const text = process.env.AGENTMATIC_TEST_SEED;
  if (!text) return undefined;
  const seed = Number(text);
  if (!Number.isInteger(seed)) throw new Error(`AGENTMATIC_TEST_SEED is not a whole number: ${text}`);
  return seed;
}

/** Numbers in [0, 1) that depend on the seed alone (splitmix32). */
export function generator(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32;
  };
}

/**
 * Runs a random test with a fresh seed, or with that of AGENTMATIC_TEST_SEED. When it fails, the error says which seed
 * that was and how to use it again.
 */
export async function replayable(body: (random: () => number, seed: number) => unknown): Promise<void> {
  const seed = givenSeed() ?? Math.floor(Math.random() * 2 ** 31);
  try {
    await body(generator(seed), seed);
  } catch (error) {
    const hint = `\nreplay with: AGENTMATIC_TEST_SEED=${seed} npm test -- <the test's file>`;
    if (!(error instanceof Error)) throw new Error(`${String(error)}${hint}`);
    error.message += hint;
    throw error;
  }
}
