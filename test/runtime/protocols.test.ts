/** Every protocol between every two runtimes, the same cases as in one process. */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Child, run, start } from "../support/process.ts";
import { type Runtime, runtimes } from "../support/runtimes.ts";

const program = join(import.meta.dirname, "..", "rpc", "matrix.ts");

describe.each(runtimes())("a server on $name", (serving: Runtime) => {
  let server: Child;
  let address: string;

  beforeAll(async () => {
    const { cmd, args } = serving.command([program, "serve"]);
    server = await start(cmd, args);
    [, address = ""] = await server.line(/^serving on (\S+)$/, { timeoutMs: 30_000 });
  });
  afterAll(() => server.kill());

  it.each(runtimes())("and a client on $name", async (calling: Runtime) => {
    const { cmd, args } = calling.command([program, "call", address]);
    const { code, output } = await run(cmd, args, { timeoutMs: 100_000 });
    expect(output).toMatch(/\d\d passed, 0 failed\n$/);
    expect(code).toBe(0);
  });
});
