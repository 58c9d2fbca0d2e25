/**
 * One plaintext port for gRPC, gRPC-web and Connect, over HTTP/2 and HTTP/1.1, on Node, Deno and Bun.
 *
 * A connection is accepted by node:net and told apart by its first bytes. HTTP/2 goes to a node:http2 server that never
 * listens itself. HTTP/1.1 is piped to a node:http server on a loopback port, because only one that listens keeps its
 * time limits on Bun, and its connections alive on Deno.
 */
import { createServer as createHttpServer, type Server as HttpServer } from "node:http";
import { createServer as createHttp2Server, type Http2Server, type ServerHttp2Session } from "node:http2";
import { connect, createServer, type Server, type Socket } from "node:net";
import { AgentmaticError } from "../../src/errors.ts";
import type { Address } from "./address.ts";
import { bind } from "./bind.ts";
import { type HandlerOptions, type RequestListener, requestListener } from "./handler.ts";
import { keepalive } from "./keepalive.ts";
import { peek } from "./peek.ts";
import { recycle, retire, sessionMegabytesMax } from "./recycle.ts";

export interface ListenOptions extends Omit<HandlerOptions, "shutdown" | "readMaxBytes"> {
  /** Bound exactly as given; port 0 takes a free one. */
  readonly address: Address;
  /** Bytes of one message; 16 MiB if not given. */
  readonly readMaxBytes?: number;
  /** Connections open at once, 1,000 if not given; further ones are closed as they come. */
  readonly connectionsMax?: number;
  /** Streams open at once on one connection; 1,000 if not given. */
  readonly streamsMax?: number;
  /** How long a new connection may stay silent; 10,000 if not given. */
  readonly firstBytesMs?: number;
  /** An HTTP/2 connection without traffic for this long is asked whether it lives; 30,000 if not given. */
  readonly keepaliveMs?: number;
}

export interface Listener {
  /** With the real port. */
  readonly address: Address;
  /** Accepts nothing new, lets calls under way end within `graceMs` (0 if not given), then ends them. */
  close(options?: { graceMs?: number }): Promise<void>;
}

export const readMaxBytesDefault: number = 16 * 1024 * 1024;
const connectionsMaxDefault = 1000;
const streamsMaxDefault = 1000;
const firstBytesMsDefault = 10_000;
const keepaliveMsDefault = 30_000;
/** Bytes of all headers of a request. */
const headerBytesMax = 16 * 1024;
/** Bytes that may be under way unread on a stream and on a connection; with the default of 64 KiB a batch of events halts for round trips. */
const windowBytes = 1024 * 1024;
/** After the grace, time for the streams that were told to end to say so to their clients. */
const lastWordsMs = 200;

/** Throws `FailedPrecondition` where the address cannot be bound. */
export async function listen(options: ListenOptions): Promise<Listener> {
  const shutdown = new AbortController();
  const readMaxBytes = options.readMaxBytes ?? readMaxBytesDefault;
  const handler = requestListener({ ...options, readMaxBytes, shutdown: shutdown.signal });
  const connectionsMax = options.connectionsMax ?? connectionsMaxDefault;
  const keepaliveMs = options.keepaliveMs ?? keepaliveMsDefault;

  const sessions = new Set<ServerHttp2Session>();
  const h2 = http2Server(handler, options.streamsMax ?? streamsMaxDefault, (session) => {
    sessions.add(session);
    session.on("close", () => sessions.delete(session));
    keepalive(session, keepaliveMs);
  });
  const h1 = createHttpServer({ maxHeaderSize: headerBytesMax }, handler);
  h1.maxConnections = connectionsMax;
  const inner = await bind(h1, { host: "127.0.0.1", port: 0 });

  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => {});
    peek(socket, options.firstBytesMs ?? firstBytesMsDefault, (first, isHttp2) => {
      if (isHttp2) adopt(h2, socket, first);
      else splice(socket, first, inner.port);
    });
  });
  server.maxConnections = connectionsMax;
  try {
    const address = await bind(server, options.address);
    return { address, close: ({ graceMs = 0 } = {}) => close({ server, h1, sessions, sockets, shutdown }, graceMs) };
  } catch (thrown) {
    h1.close();
    throw thrown;
  }
}

function http2Server(
  handler: RequestListener,
  streamsMax: number,
  onSession: (session: ServerHttp2Session) => void,
): Http2Server {
  const settings = {
    maxConcurrentStreams: streamsMax,
    maxHeaderListSize: headerBytesMax,
    initialWindowSize: windowBytes,
    enablePush: false,
  };
  const server = createHttp2Server({ settings, maxSessionMemory: sessionMegabytesMax }, handler);
  server.on("session", (session) => {
    session.on("error", () => {});
    session.setLocalWindowSize(windowBytes);
    session.on("stream", (stream) => recycle(session, stream, () => retire(session)));
    onSession(session);
  });
  return server;
}

function adopt(server: Http2Server, socket: Socket, first: Uint8Array): void {
  socket.unshift(first);
  server.emit("connection", socket);
  queueMicrotask(() => socket.resume());
}

function splice(socket: Socket, first: Uint8Array, port: number): void {
  const inner = connect({ port, host: "127.0.0.1", noDelay: true });
  inner.on("error", () => socket.destroy());
  inner.on("close", () => socket.destroy());
  socket.on("close", () => inner.destroy());
  inner.write(first);
  socket.pipe(inner);
  inner.pipe(socket);
}

interface Open {
  readonly server: Server;
  readonly h1: HttpServer;
  readonly sessions: ReadonlySet<ServerHttp2Session>;
  readonly sockets: ReadonlySet<Socket>;
  readonly shutdown: AbortController;
}

async function close({ server, h1, sessions, sockets, shutdown }: Open, graceMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  for (const session of sessions) retire(session);
  h1.close();
  const stop = setTimeout(() => {
    shutdown.abort(new AgentmaticError("Unavailable", "the worker is stopping"));
  }, graceMs);
  const cut = setTimeout(() => {
    for (const socket of sockets) socket.destroy();
    h1.closeAllConnections();
  }, graceMs + lastWordsMs);
  await closed;
  clearTimeout(stop);
  clearTimeout(cut);
}
