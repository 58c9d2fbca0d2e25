/**
 * Errors that nobody caught. A node's own (thrown in a timer, a promise nobody awaited) fails its run and nothing else;
 * one of this package's own code means that the process cannot be trusted any more, and ends it.
 */
import process from "node:process";
import { AgentmaticError } from "../../src/errors.ts";
import { asyncContext, type NodeContext } from "../../src/graph/context.ts";
import type { Logger } from "../../src/ports.ts";
import { codeFolder } from "./version.ts";

export interface FaultOptions {
  readonly logger: Logger;
  /** Ends the run of the node that the error came from. */
  fail(runId: string, error: AgentmaticError): void;
  exit(code: number): void;
}

export function watchFaults({ logger, fail, exit }: FaultOptions): void {
  const onFault = (thrown: unknown) => {
    // Runtimes differ in where they keep the async context; where it is gone, the stack decides.
    const node = asyncContext()?.get() as NodeContext | undefined;
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    if (node) {
      logger.log("error", "a node let an error go uncaught: its run fails", {
        graph: node.graph,
        node: node.node,
        runId: node.runId,
        error: message,
      });
      const text = `graph "${node.graph}", node "${node.node}": uncaught: ${message}`;
      fail(node.runId, new AgentmaticError("NodeFailed", text, { cause: thrown, details: { node: node.node } }));
    } else if (isOurs(thrown)) {
      logger.log("error", "the worker has a fault of its own and ends", {
        error: thrown instanceof Error ? thrown.stack : message,
      });
      exit(1);
    } else {
      logger.log("error", "an error of the graphs' code went uncaught", { error: message });
    }
  };
  process.on("uncaughtException", onFault);
  process.on("unhandledRejection", onFault);
}

const ownFolders: readonly string[] = ["src", "adapters", "bin"].map((name) => `${codeFolder}/${name}/`);

/** True where the code that threw is this package's. Errors of sockets have no such place; they belong to whoever opened them. */
export function isOurs(thrown: unknown): boolean {
  const stack = thrown instanceof Error ? (thrown.stack ?? "") : "";
  const frames = stack.split("\n").filter((line) => /^\s+at /.test(line));
  const first = frames.find((line) => !/\((node|ext|native):|at (node|ext|native):|\[native code\]/.test(line)) ?? "";
  return ownFolders.some((folder) => first.includes(folder));
}
