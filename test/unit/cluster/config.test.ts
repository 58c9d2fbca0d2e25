import { expect, test } from "vitest";
import { ClusterConfig, type ClusterOptions } from "../../../adapters/cluster/mod.ts";

const good: ClusterOptions = { topology: "coordinator-worker", workers: ["w-1:9090", "w-2:9090"] };

test("the settings of the product's own text are taken", () => {
  const config = new ClusterConfig({ ...good, transport: "grpc", loadBalancing: "least-loaded" });
  expect(config.options.workers).toEqual(["w-1:9090", "w-2:9090"]);
});

test.each([
  ["topology", { topology: "ring" }],
  ["transport", { transport: "smoke" }],
  ["workers", { workers: [] }],
  ["workers[1]", { workers: ["w:1", "w:1"] }],
  ["workers[0]", { workers: [5] }],
  ["loadBalancing", { loadBalancing: "fair" }],
  ["silentMs", { silentMs: 0 }],
  ["queueMax", { queueMax: Number.NaN }],
])("%s is named where it is wrong", (field, change) => {
  const build = () => new ClusterConfig({ ...good, ...change } as never);
  expect(build).toThrow(expect.objectContaining({ code: "InvalidArgument", message: expect.stringContaining(field) }));
});

test.each([
  ["p2p", () => new ClusterConfig({ ...good, topology: "p2p" })],
  ["consistent-hash", () => new ClusterConfig({ ...good, loadBalancing: "consistent-hash" })],
  ["DNS", () => ClusterConfig.fromDns("agentmatic-worker:9090")],
])("%s is not there yet, and the error says so", (what, build) => {
  expect(build).toThrow(expect.objectContaining({ code: "Unsupported", message: expect.stringContaining(what) }));
});
