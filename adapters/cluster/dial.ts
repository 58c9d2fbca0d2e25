/** Reaches workers by address, over HTTP/2, in any of the three protocols. Runs on Node, Deno and Bun. */
import type { Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { invalid } from "../../src/errors.ts";
import { workerClient } from "../../src/rpc/client.ts";
import type { Dialer } from "../../src/run/link.ts";
import { Session } from "./session.ts";

export type DialProtocol = "grpc" | "connect" | "grpc-web";

export interface DialOptions {
  readonly transport: DialProtocol;
  /** Bytes of one message, either way; 16 MiB if not given. */
  readonly messageMaxBytes?: number;
  /** A connection with streams and without traffic for this long is asked whether it lives; 1,000 if not given. */
  readonly pingIntervalMs?: number;
  /**
   * How long the answer may take before the connection and its streams are given up; 3,000 if not given. A pause of
   * this process counts as the other's silence, so a short time gives up healthy workers.
   */
  readonly pingTimeoutMs?: number;
  /** How long a new connection may take; 3,000 if not given. */
  readonly connectTimeoutMs?: number;
}

const messageMaxBytesDefault = 16 * 1024 * 1024;
const pingIntervalMsDefault = 1000;
const pingTimeoutMsDefault = 3000;
const connectTimeoutMsDefault = 3000;

const transports = {
  grpc: createGrpcTransport,
  connect: (options: TransportOptions) => createConnectTransport({ ...options, httpVersion: "2" }),
  "grpc-web": (options: TransportOptions) => createGrpcWebTransport({ ...options, httpVersion: "2" }),
} satisfies Record<DialProtocol, (options: TransportOptions) => Transport>;

interface TransportOptions {
  readonly baseUrl: string;
  readonly readMaxBytes: number;
  readonly writeMaxBytes: number;
  readonly acceptCompression: [];
  readonly sessionManager: Session;
}

/** Throws `InvalidArgument` for an unknown protocol at once, and for an address that is none when it is dialled. */
export function createDialer(options: DialOptions): Dialer {
  const create = Object.hasOwn(transports, options.transport) ? transports[options.transport] : undefined;
  if (!create) throw invalid("transport", `"${options.transport}" is none of ${Object.keys(transports).join(", ")}`);
  return {
    // Nothing is opened yet: the first call connects, and later ones connect again where the connection was lost.
    dial(address) {
      const baseUrl = workerUrl(address);
      const sessionManager = new Session(baseUrl, {
        pingIntervalMs: options.pingIntervalMs ?? pingIntervalMsDefault,
        pingTimeoutMs: options.pingTimeoutMs ?? pingTimeoutMsDefault,
        connectTimeoutMs: options.connectTimeoutMs ?? connectTimeoutMsDefault,
      });
      // Refused here before it is sent: a server that refuses it leaves the connection full of what nobody reads.
      const readMaxBytes = options.messageMaxBytes ?? messageMaxBytesDefault;
      const writeMaxBytes = readMaxBytes;
      // Within a cluster the processor is dearer than the wire; and Deno's gunzip loses messages of a megabyte (2.9.6).
      const acceptCompression: [] = [];
      const limits = { readMaxBytes, writeMaxBytes, acceptCompression };
      return workerClient(create({ baseUrl, ...limits, sessionManager }), () => sessionManager.abort());
    },
  };
}

/** `worker-1:9090`, `[::1]:9090`, `http://worker-1:9090`, `https://worker-1.example` as a URL without a path. */
export function workerUrl(address: string): string {
  const text = address.includes("://") ? address : `http://${address}`;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !["http:", "https:"].includes(url.protocol) || url.hostname === "") {
    throw invalid("address", `"${hideUser(address)}" is neither HOST:PORT nor an http or https URL`);
  }
  if (url.username || url.password) throw invalid("address", `"${url.origin}" must not carry a user or password`);
  if ((url.pathname !== "/" && url.pathname !== "") || url.search || url.hash) {
    throw invalid("address", `"${url.origin}" must not be followed by a path`);
  }
  if (!address.includes("://") && !/:\d+$/.test(address)) throw invalid("address", `"${address}" has no port`);
  return url.origin;
}

function hideUser(address: string): string {
  return address.replace(/^(.*:\/\/)?[^/]*@/, "$1");
}
