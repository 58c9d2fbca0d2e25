/** agentmatic on Deno: what this runtime hands to the core, and a worker as a server. */
import process from "node:process";
import type { Ports } from "../../src/ports.ts";
import { type Runtime, runtime } from "../_shared/runtime.ts";
import { type ServeWorkerOptions, serveWorker as serve, type WorkerServer } from "../_shared/serve-worker.ts";

export { install } from "../_shared/context.ts";
export { resolve } from "../_shared/dns.ts";
export { openStore } from "../_shared/store-url.ts";
export type { Runtime, ServeWorkerOptions, WorkerServer };

export const deno: Runtime = runtime("deno", process.versions.deno ?? "");
export const ports: Ports = deno.ports;

/** Throws `InvalidArgument`, naming the option, and `FailedPrecondition` where an address or store cannot be used. */
export function serveWorker(options: ServeWorkerOptions): Promise<WorkerServer> {
  return serve(deno, options);
}
