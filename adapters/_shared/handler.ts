/** RPC routes, and a fetch handler for all other paths, as one request listener for node:http and node:http2. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import { type ConnectRouter, createConnectRouter } from "@connectrpc/connect";
import {
  compressionGzip,
  universalRequestFromNodeRequest,
  universalResponseToNodeResponse,
} from "@connectrpc/connect-node";
import { getRequestListener } from "@hono/node-server";
import type { Logger } from "../../src/ports.ts";

export type RequestListener = (
  request: IncomingMessage | Http2ServerRequest,
  response: ServerResponse | Http2ServerResponse,
) => void;

export type Fetch = (request: Request) => Response | Promise<Response>;

export interface HandlerOptions {
  readonly routes: (router: ConnectRouter) => void;
  /** Answers what is no RPC; 404 where it is not given. */
  readonly fallback?: Fetch;
  /** A message above this many bytes is refused with `ResourceExhausted`, before it is in memory as a whole. */
  readonly readMaxBytes: number;
  readonly logger: Logger;
  /** Ends the streams under way: their signals abort. */
  readonly shutdown: AbortSignal;
}

/**
 * Like connect-node's own adapter, but what goes wrong with one connection (a client that went away) is a debug line of
 * our logger, and never the request's content on stderr.
 */
export function requestListener(options: HandlerOptions): RequestListener {
  const router = createConnectRouter({
    readMaxBytes: options.readMaxBytes,
    acceptCompression: [compressionGzip],
    // A misspelt field of somebody's JSON is told to him; binary messages of newer peers pass as they should.
    jsonOptions: { ignoreUnknownFields: false },
    shutdownSignal: options.shutdown,
  });
  options.routes(router);
  const handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
  const fallback = getRequestListener(options.fallback ?? (() => new Response(null, { status: 404 })));
  return (request, response) => {
    const path = request.url?.split("?", 1)[0] ?? "";
    const handler = handlers.get(path);
    if (!handler) {
      void fallback(request, response);
      return;
    }
    serve().catch((thrown: unknown) => {
      const error = thrown instanceof Error ? thrown.message : String(thrown);
      options.logger.log("debug", "an RPC ended with its connection", { method: handler.method.name, error });
    });
    async function serve(): Promise<void> {
      const answer = await handler!(universalRequestFromNodeRequest(request, response, undefined, undefined));
      await universalResponseToNodeResponse(answer, response);
    }
  };
}
