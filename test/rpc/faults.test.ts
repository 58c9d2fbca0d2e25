import { describe, expect, it } from "vitest";
import { parseAddress } from "../../adapters/_shared/address.ts";
import { isOurs } from "../../adapters/_shared/faults.ts";
import { codeFolder } from "../../adapters/_shared/version.ts";

function thrownBy(body: () => unknown): unknown {
  try {
    body();
  } catch (thrown) {
    return thrown;
  }
  return undefined;
}

function stacked(...frames: string[]): Error {
  return Object.assign(new Error("x"), { stack: ["Error: x", ...frames.map((frame) => `    at ${frame}`)].join("\n") });
}

describe("whose fault an uncaught error is", () => {
  it("is told by the code that threw", () => {
    expect(isOurs(thrownBy(() => parseAddress("listen", null as never)))).toBe(true);
    expect(isOurs(thrownBy(() => (undefined as never as { x: number }).x))).toBe(false);
    expect(isOurs("text")).toBe(false);
    expect(isOurs(undefined)).toBe(false);
  });

  it("looks past the runtimes' own frames, and no further", () => {
    const ours = `run (file://${codeFolder}/src/engine/run.ts:1:1)`;
    const theirs = "node (file:///app/graphs.ts:3:5)";
    expect(isOurs(stacked("Timeout._onTimeout (node:internal/timers:1:1)", ours))).toBe(true);
    expect(isOurs(stacked("onTimer (ext:deno_node/timers.ts:1:1)", ours))).toBe(true);
    expect(isOurs(stacked(theirs, ours))).toBe(false);
    expect(isOurs(stacked("connect (node:net:1:1)", "processTicksAndRejections (node:internal:1:1)"))).toBe(false);
  });
});
