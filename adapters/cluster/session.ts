/** connect-node's HTTP/2 connection, with a limit on how long connecting may take and room for batches of events. */
import type {
  ClientHttp2Session,
  ClientHttp2Stream,
  ClientSessionRequestOptions,
  OutgoingHttpHeaders,
} from "node:http2";
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { Http2SessionManager } from "@connectrpc/connect-node";
import { recycle, sessionMegabytesMax } from "../_shared/recycle.ts";

export interface SessionOptions {
  readonly pingIntervalMs: number;
  readonly pingTimeoutMs: number;
  readonly connectTimeoutMs: number;
}

/** Bytes that may be under way unread on a stream and on the connection; the default of 64 KiB halts at every round trip. */
const windowBytes = 1024 * 1024;

export class Session extends Http2SessionManager {
  readonly #known = new WeakSet<ClientHttp2Session>();

  constructor(baseUrl: string, { connectTimeoutMs, ...pings }: SessionOptions) {
    super(baseUrl, pings, {
      settings: { enablePush: false, initialWindowSize: windowBytes },
      maxSessionMemory: sessionMegabytesMax,
      createConnection: (url) => open(url, connectTimeoutMs),
    });
  }

  override async request(
    method: string,
    path: string,
    headers: OutgoingHttpHeaders,
    options: Omit<ClientSessionRequestOptions, "signal">,
  ): Promise<ClientHttp2Stream> {
    const stream = await super.request(method, path, headers, options);
    const session = stream.session as ClientHttp2Session | undefined;
    if (session && !this.#known.has(session)) {
      this.#known.add(session);
      session.setLocalWindowSize(windowBytes);
      // A ping that times out after the manager has let go of the connection would be an uncaught error otherwise.
      session.on("error", () => {});
    }
    if (session) recycle(session, stream, () => session.close());
    return stream;
  }
}

function open(url: URL, timeoutMs: number): Socket {
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const secure = url.protocol === "https:";
  const port = Number(url.port) || (secure ? 443 : 80);
  const socket = secure
    ? connectTls({ host, port, ALPNProtocols: ["h2"], ...(isIP(host) ? {} : { servername: host }) })
    : connectTcp({ host, port, noDelay: true });
  const timer = setTimeout(() => {
    const error = new Error(`no connection to ${url.host} within ${timeoutMs} ms`);
    socket.destroy(Object.assign(error, { code: "ETIMEDOUT" }));
  }, timeoutMs);
  const settled = () => clearTimeout(timer);
  socket.once(secure ? "secureConnect" : "connect", settled);
  socket.once("close", settled);
  return socket;
}
