import type { Server } from "node:net";
import { AgentmaticError } from "../../src/errors.ts";
import { type Address, formatAddress } from "./address.ts";

const reasons: Readonly<Record<string, string>> = {
  EADDRINUSE: "another process listens there already",
  EADDRNOTAVAIL: "this machine has no such address",
  EACCES: "the system does not allow it",
  ENOTFOUND: "its name is not known",
  EAI_AGAIN: "its name cannot be looked up now",
};

/** Listens, and gives the address with its real port. Throws `FailedPrecondition`, saying why, where that cannot be. */
export function bind(server: Server, wanted: Address): Promise<Address> {
  return new Promise((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException) => {
      const reason = reasons[error.code ?? ""] ?? error.message;
      const message = `cannot listen on ${formatAddress(wanted)}: ${reason}`;
      reject(new AgentmaticError("FailedPrecondition", message, { cause: error }));
    };
    server.once("error", onError);
    server.listen({ host: wanted.host, port: wanted.port }, () => {
      server.off("error", onError);
      // What goes wrong with one connection later is that connection's own error.
      server.on("error", () => {});
      const bound = server.address();
      resolve({ host: wanted.host, port: typeof bound === "object" && bound ? bound.port : wanted.port });
    });
  });
}
