/** A server of the Model Context Protocol, made with the official SDK, that tells of what it was asked. */
import { once } from "node:events";
import { createServer, type Server as HttpServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Server } from "@modelcontextprotocol/sdk/server/index.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import {
  type CallToolRequest,
  CallToolRequestSchema,
  type CallToolResult,
  ListToolsRequestSchema,
  type Tool,
} from "@modelcontextprotocol/sdk/types.js";

type Params = CallToolRequest["params"];
export type Extra = { readonly signal: AbortSignal; readonly progress: () => Promise<void> };
export type Handler = (params: Params, extra: Extra) => CallToolResult | Promise<CallToolResult>;

export const anyObject: Tool["inputSchema"] = { type: "object", properties: {} };

export interface Served {
  readonly tools: readonly Tool[];
  readonly onCall: Handler;
  /** Tools of one page of the list; all unless given. */
  readonly pageSize?: number;
}

export function text(value: string): CallToolResult {
  return { content: [{ type: "text", text: value }] };
}

export function mcpServer({ tools, onCall, pageSize = tools.length }: Served): Server {
  const server = new Server({ name: "test", version: "1" }, { capabilities: { tools: {} } });
  server.setRequestHandler(ListToolsRequestSchema, ({ params }) => {
    const from = Number(params?.cursor ?? 0);
    const page = tools.slice(from, from + pageSize);
    return { tools: page, ...(from + pageSize < tools.length ? { nextCursor: String(from + pageSize) } : {}) };
  });
  server.setRequestHandler(CallToolRequestSchema, ({ params }, { signal, sendNotification, _meta }) => {
    const progress = async () => {
      const progressToken = _meta?.progressToken;
      if (progressToken === undefined) return;
      await sendNotification({ method: "notifications/progress", params: { progressToken, progress: 1 } });
    };
    return onCall(params, { signal, progress });
  });
  return server;
}

/** Serves over streamable HTTP on a free loopback port. */
export async function serveHttp(served: Served): Promise<{ url: URL; close(): Promise<void> }> {
  const sessions = new Map<string, StreamableHTTPServerTransport>();
  const http: HttpServer = createServer(async (request, response) => {
    const known = sessions.get(String(request.headers["mcp-session-id"]));
    const transport = known ?? (await newSession(served, sessions));
    await transport.handleRequest(request, response);
  });
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  const { port } = http.address() as AddressInfo;
  return {
    url: new URL(`http://127.0.0.1:${port}/mcp`),
    close: async () => {
      http.closeAllConnections();
      http.close();
      await once(http, "close");
    },
  };
}

async function newSession(
  served: Served,
  sessions: Map<string, StreamableHTTPServerTransport>,
): Promise<StreamableHTTPServerTransport> {
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: () => crypto.randomUUID(),
    onsessioninitialized: (id) => void sessions.set(id, transport),
  });
  // The SDK's own types do not fit together under exactOptionalPropertyTypes.
  await mcpServer(served).connect(transport as Parameters<Server["connect"]>[0]);
  return transport;
}
