import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { formatAddress, isLoopback, parseAddress } from "../../adapters/_shared/address.ts";
import { type Listener, type ListenOptions, listen } from "../../adapters/_shared/listen.ts";
import { createDialer } from "../../adapters/cluster/dial.ts";
import { silentLogger } from "../../src/ports.ts";
import { workerRoutes } from "../../src/rpc/server.ts";
import { Channel } from "../../src/run/channel.ts";
import type { ToWorker } from "../../src/run/link.ts";
import { until } from "../support/wait.ts";
import { framesOf, newRun, valuesOf } from "./cases.ts";
import { EchoEndpoint, toJson } from "./echo.ts";

const open: (() => Promise<unknown> | unknown)[] = [];
const never = new AbortController().signal;

afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

async function start(options: Partial<ListenOptions> = {}, endpoint = new EchoEndpoint()) {
  const listener = await listen({
    address: { host: "127.0.0.1", port: 0 },
    routes: workerRoutes(endpoint, { toJson }),
    logger: silentLogger,
    ...options,
  });
  open.push(() => listener.close());
  return { listener, endpoint, address: formatAddress(listener.address) };
}

function dial(address: string) {
  const client = createDialer({ transport: "grpc" }).dial(address);
  open.push(() => client.close());
  return client;
}

/** A raw connection, and all that it has received. */
function raw(listener: Listener): { socket: Socket; received: () => string; closed: Promise<unknown> } {
  let text = "";
  const socket = connect(listener.address.port, "127.0.0.1");
  socket.on("data", (chunk) => {
    text += chunk.toString("latin1");
  });
  socket.on("error", () => {});
  open.push(() => socket.destroy());
  return { socket, received: () => text, closed: once(socket, "close") };
}

describe("one port for HTTP/1.1 and HTTP/2", () => {
  it.each([
    ["says nothing", ""],
    ["says half of a preface", "PR"],
  ])("cuts off a client that %s", async (_name, text) => {
    const { listener } = await start({ firstBytesMs: 50 });
    const { socket, closed, received } = raw(listener);
    socket.write(text);
    await closed;
    expect(received()).toBe("");
  });

  it("takes a preface and a request that come byte by byte", async () => {
    const { listener } = await start();
    for (const [text, answer] of [
      ["PROPFIND / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", /^HTTP\/1\.1 404/],
      ["POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", /^HTTP\/1\.1 404/],
    ] as const) {
      const { socket, closed, received } = raw(listener);
      socket.setNoDelay(true);
      for (const char of text.slice(0, 6)) {
        socket.write(char);
        await new Promise((resolve) => setTimeout(resolve));
      }
      socket.write(text.slice(6));
      await closed;
      expect(received()).toMatch(answer);
    }
    // Any HTTP/2 frame in answer: the server's SETTINGS (RFC 9113, 6.5).
    const { socket, received } = raw(listener);
    for (const char of "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") socket.write(char);
    socket.write(Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]));
    await until(() => received().length >= 9, { what: "settings" });
    expect(received().charCodeAt(3)).toBe(4);
  });

  it("answers what is neither with an error and closes", async () => {
    const { listener } = await start();
    const { socket, closed, received } = raw(listener);
    socket.write("\x16\x03\x01 no TLS here\r\n\r\n");
    await closed;
    expect(received()).toMatch(/^HTTP\/1\.1 400/);
  });

  it("answers 404 to other paths, or asks the fallback, in both versions", async () => {
    const plain = await start();
    const app = await start({ fallback: (request) => new Response(`hello ${new URL(request.url).pathname}`) });
    expect((await fetch(`http://${plain.address}/x`)).status).toBe(404);
    expect(await (await fetch(`http://${app.address}/x`)).text()).toBe("hello /x");
    const session = connectHttp2(`http://${app.address}`);
    open.push(() => session.destroy());
    const stream = session.request({ ":path": "/y" });
    let text = "";
    for await (const chunk of stream) text += chunk;
    expect(text).toBe("hello /y");
  });

  it("refuses headers above 16 KiB", async () => {
    const { address } = await start();
    expect((await fetch(`http://${address}/x`, { headers: { "x-long": "a".repeat(20_000) } })).status).toBe(431);
  });

  it("refuses a message above the limit, over HTTP/1.1 too", async () => {
    const { address } = await start({ readMaxBytes: 1000 });
    const answer = await fetch(`http://${address}/agentmatic.v1.WorkerService/Execute`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ newRun: { graph: "echo", input: { text: "x".repeat(2000) } } }),
    });
    expect(await answer.json()).toMatchObject({ code: "resource_exhausted" });
  });

  it("closes connections beyond its bound as they come", async () => {
    const { listener } = await start({ connectionsMax: 2 });
    const first = [raw(listener), raw(listener)];
    await Promise.all(first.map(({ socket }) => once(socket, "connect")));
    await raw(listener).closed;
    for (const { socket } of first) expect(socket.closed).toBe(false);
  });

  it("destroys an HTTP/2 connection whose other end answers no ping, and its streams' signals abort", async () => {
    const { listener, endpoint, address } = await start({ keepaliveMs: 100 });
    const client = dial(address);
    const link = client.link(new Channel<ToWorker>(1), never)[Symbol.asyncIterator]();
    void link.next().catch(() => {});
    const { socket, closed } = raw(listener);
    socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    socket.write(Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]));
    await closed;
    // The one that answers pings is still there.
    expect(endpoint.links).toBe(1);
    expect((await client.describe()).draining).toBe(false);
  });

  it("says in one error that the address is taken, or not this machine's", async () => {
    const { listener } = await start();
    const { port } = listener.address;
    await expect(start({ address: listener.address })).rejects.toMatchObject({
      code: "FailedPrecondition",
      message: `cannot listen on 127.0.0.1:${port}: another process listens there already`,
    });
    await expect(start({ address: { host: "203.0.113.1", port: 0 } })).rejects.toMatchObject({
      message: "cannot listen on 203.0.113.1:0: this machine has no such address",
    });
  });
});

describe("close", () => {
  it("lets a call under way end, takes no further one, and is done with the last", async () => {
    const { listener, endpoint, address } = await start();
    const client = dial(address);
    const call = framesOf(client.execute(newRun({ waitMs: 300, text: "to the end" }), never));
    await until(() => endpoint.seen.length === 1, { what: "the call to arrive" });
    const startMs = performance.now();
    await listener.close({ graceMs: 10_000 });
    expect(performance.now() - startMs).toBeLessThan(5_000);
    expect(valuesOf((await call).at(-1))).toMatchObject({ text: "to the end" });
    await expect(client.describe()).rejects.toMatchObject({ code: "Unavailable" });
  });

  it("ends a link after its grace, saying that it is unavailable", async () => {
    const { listener, endpoint, address } = await start();
    const link = dial(address).link(new Channel<ToWorker>(1), never)[Symbol.asyncIterator]();
    const next = link.next();
    next.catch(() => {});
    await until(() => endpoint.links === 1, { what: "the link" });
    const startMs = performance.now();
    await listener.close({ graceMs: 100 });
    expect(performance.now() - startMs).toBeLessThan(2_000);
    const ended = await next.catch((thrown) => thrown);
    expect("done" in ended ? ended.done : ended.code).toBeOneOf([true, "Unavailable"]);
    expect(endpoint.links).toBe(0);
  });

  it("ends silent, idle and HTTP/1.1 connections as well", async () => {
    const { listener, address } = await start();
    const silent = raw(listener);
    await once(silent.socket, "connect");
    await (await fetch(`http://${address}/x`)).text();
    const client = dial(address);
    await client.describe();
    await listener.close();
    await silent.closed;
  });
});

describe("addresses", () => {
  it.each([
    ["0.0.0.0:9090", { host: "0.0.0.0", port: 9090 }],
    [":0", { host: "0.0.0.0", port: 0 }],
    ["worker-1.default.svc:65535", { host: "worker-1.default.svc", port: 65_535 }],
    ["[::1]:80", { host: "::1", port: 80 }],
  ])("%s", (text, address) => {
    expect(parseAddress("listen", text)).toEqual(address);
    if (!text.startsWith(":")) expect(formatAddress(address)).toBe(text);
  });

  it.each(["9090", "host", "host:", "host:65536", "::1:80", "http://host:80", "a b:1", ""])("refuses %j", (text) => {
    expect(() => parseAddress("listen", text)).toThrow(expect.objectContaining({ code: "InvalidArgument" }));
  });

  it("knows which ones only this machine reaches", () => {
    expect(["127.0.0.1", "127.9.9.9", "::1", "localhost"].every(isLoopback)).toBe(true);
    expect(["0.0.0.0", "::", "10.0.0.1", "localhost.evil.example", "1127.0.0.1"].some(isLoopback)).toBe(false);
  });
});
