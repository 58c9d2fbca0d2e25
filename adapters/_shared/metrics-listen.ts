/** The operations port: plain HTTP/1.1 for probes and scrapers. */
import { createServer } from "node:http";
import { getRequestListener } from "@hono/node-server";
import type { Address } from "./address.ts";
import { bind } from "./bind.ts";
import type { Fetch } from "./handler.ts";
import type { Listener } from "./listen.ts";

/** Probes and scrapers are few: more connections than this are somebody's mistake. */
const connectionsMax = 100;
const headerBytesMax = 16 * 1024;
const requestTimeoutMs = 10_000;

/** Throws `FailedPrecondition` where the address cannot be bound. */
export async function listenHttp(wanted: Address, fetch: Fetch): Promise<Listener> {
  const listener = getRequestListener(fetch);
  const limits = { maxHeaderSize: headerBytesMax, requestTimeout: requestTimeoutMs, headersTimeout: requestTimeoutMs };
  const server = createServer(limits, (request, response) => void listener(request, response));
  server.maxConnections = connectionsMax;
  const address = await bind(server, wanted);
  return {
    address,
    async close({ graceMs = 0 } = {}) {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      const cut = setTimeout(() => server.closeAllConnections(), graceMs);
      await closed;
      clearTimeout(cut);
    },
  };
}
