import { createServer, type Server, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { formatAddress } from "../../adapters/_shared/address.ts";
import { resolve } from "../../adapters/_shared/dns.ts";
import { listen } from "../../adapters/_shared/listen.ts";
import { createDialer, type DialOptions, workerUrl } from "../../adapters/cluster/dial.ts";
import { silentLogger } from "../../src/ports.ts";
import { workerRoutes } from "../../src/rpc/server.ts";
import { Channel } from "../../src/run/channel.ts";
import type { ToWorker } from "../../src/run/link.ts";
import { framesOf, newRun } from "./cases.ts";
import { EchoEndpoint, toJson } from "./echo.ts";

const open: (() => Promise<unknown> | unknown)[] = [];
const never = new AbortController().signal;

afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

function dial(address: string, options: Partial<DialOptions> = {}) {
  const client = createDialer({ transport: "grpc", ...options }).dial(address);
  open.push(() => client.close());
  return client;
}

/** A server that accepts and never says a word: what a frozen process looks like. */
async function frozen(): Promise<string> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.resume();
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  open.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  return `127.0.0.1:${typeof address === "object" ? address?.port : 0}`;
}

describe("addresses", () => {
  it.each([
    ["worker-1:9090", "http://worker-1:9090"],
    ["[::1]:9090", "http://[::1]:9090"],
    ["http://worker-1:9090", "http://worker-1:9090"],
    ["http://worker-1:9090/", "http://worker-1:9090"],
    ["https://worker-1.example", "https://worker-1.example"],
    ["https://worker-1.example:8443", "https://worker-1.example:8443"],
    ["worker-1:80", "http://worker-1"],
  ])("%s is %s", (address, url) => {
    expect(workerUrl(address)).toBe(url);
  });

  it.each(["", "worker-1", "ftp://worker-1:9090", "http://worker-1:9090/path", "worker 1:9090", "http://"])(
    "refuses %j",
    (address) => {
      expect(() => dial(address)).toThrow(expect.objectContaining({ code: "InvalidArgument" }));
    },
  );

  it("refuses a password without repeating it", () => {
    for (const address of ["http://me:hunter2@worker-1:9090", "me:hunter2@worker-1:9090", "x://me:hunter2@h:1"]) {
      const error = (() => {
        try {
          return workerUrl(address);
        } catch (thrown) {
          return String(thrown);
        }
      })();
      expect(error).toMatch(/address/);
      expect(error).not.toContain("hunter2");
    }
  });

  it("refuses a protocol that is none", () => {
    expect(() => createDialer({ transport: "carrier-pigeon" as never })).toThrow(/transport.*grpc, connect, grpc-web/);
  });
});

describe("a worker that is not well", () => {
  it("is unavailable where nobody listens", async () => {
    await expect(dial("127.0.0.1:1").describe()).rejects.toMatchObject({ code: "Unavailable" });
    await expect(dial("no-such-host.invalid:9090").describe()).rejects.toMatchObject({ code: "Unavailable" });
  });

  it.each(["grpc", "connect", "grpc-web"] as const)("is noticed when it freezes, over %s", async (transport) => {
    const client = dial(await frozen(), { transport, pingIntervalMs: 100, pingTimeoutMs: 150 });
    const startMs = performance.now();
    await expect(client.describe()).rejects.toMatchObject({ code: "Unavailable" });
    const link = client.link(new Channel<ToWorker>(1), never);
    await expect(framesOf(link)).rejects.toMatchObject({ code: "Unavailable" });
    expect(performance.now() - startMs).toBeLessThan(3_000);
  });

  it("is given up when connecting takes too long", async () => {
    // The port is open, but nobody answers the TLS handshake.
    const client = dial(`https://${await frozen()}`, { connectTimeoutMs: 100 });
    const startMs = performance.now();
    await expect(client.describe()).rejects.toMatchObject({ code: "Unavailable" });
    expect(performance.now() - startMs).toBeLessThan(2_000);
  });

  it("is reached again by the same client after it came back", async () => {
    const serve = (port: number) =>
      listen({
        address: { host: "127.0.0.1", port },
        routes: workerRoutes(new EchoEndpoint(), { toJson }),
        logger: silentLogger,
      });
    const first = await serve(0);
    const client = dial(formatAddress(first.address));
    await client.describe();
    await first.close();
    await expect(client.describe()).rejects.toMatchObject({ code: "Unavailable" });
    const second = await serve(first.address.port);
    open.push(() => second.close());
    expect((await client.describe()).draining).toBe(false);
  });

  it("does not lose a connection to calls that were given up with much unsent", async () => {
    const listener = await listen({
      address: { host: "127.0.0.1", port: 0 },
      routes: workerRoutes(new EchoEndpoint(), { toJson }),
      logger: silentLogger,
    });
    open.push(() => listener.close());
    const client = dial(formatAddress(listener.address));
    // Each is given up when its answer of 12 MiB has begun: more in all than a connection may have in memory.
    let refused = 0;
    for (let round = 0; round < 25; round++) {
      try {
        for await (const _ of client.execute(newRun({ events: 1, size: 12 * 1024 * 1024 }), never)) break;
      } catch (thrown) {
        expect(thrown).toMatchObject({ code: "Unavailable", retryable: true });
        refused++;
      }
    }
    // Only a call that meets the end of a worn-out connection is refused, and may be made again at once.
    expect(refused).toBeLessThanOrEqual(2);
  });
});

describe("names", () => {
  it("stand for all of their addresses, with the port", async () => {
    const found = await resolve("localhost:9090");
    expect(found.length).toBeGreaterThan(0);
    for (const address of found) expect(["127.0.0.1:9090", "[::1]:9090"]).toContain(address);
    expect(await resolve("127.0.0.1:1")).toEqual(["127.0.0.1:1"]);
  });

  it("that are not known are unavailable, and say which", async () => {
    await expect(resolve("no-such-host.invalid:9090")).rejects.toMatchObject({
      code: "Unavailable",
      message: expect.stringContaining("no-such-host.invalid"),
    });
    await expect(resolve("")).rejects.toMatchObject({ code: "InvalidArgument" });
  });
});
