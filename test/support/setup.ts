// Runs before each test file. fast-check prints the seed of a failing run; AGENTMATIC_TEST_SEED gives it back.
import { givenSeed } from "./seed.ts";

const seed = givenSeed();
if (seed !== undefined) {
  const { configureGlobal } = await import("fast-check");
  configureGlobal({ seed });
}
