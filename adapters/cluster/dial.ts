/** Reaches workers by address, over HTTP/2, in any of the three protocols. Runs on Node, Deno and Bun. */
import type { ClientSessionOptions } from "node:http2";
import { connect as connectTcp } from "node:net";
import { connect as connectTls } from "node:tls";
import type { Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
  Http2SessionManager,
} from "@connectrpc/connect-node";
import { invalid } from "../../src/errors.ts";
import { type WorkerClient, workerClient } from "../../src/rpc/client.ts";
import type { Dialer } from "../../src/run/link.ts";

export type DialProtocol = "grpc" | "connect" | "grpc-web";

export interface DialOptions {
  readonly transport: DialProtocol;
  /** Bytes of one message; 16 MiB if not given. */
  readonly readMaxBytes?: number;
  /** A connection with streams and without traffic for this long is asked whether it lives; 1,000 if not given. */
  readonly pingIntervalMs?: number;
  /** How long the answer may take before the connection and its streams are given up; 1,000 if not given. */
  readonly pingTimeoutMs?: number;
  /** How long a new connection may take; 3,000 if not given. */
  readonly connectTimeoutMs?: number;
}
