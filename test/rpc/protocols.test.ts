import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Listener, listen } from "../../adapters/_shared/listen.ts";
import { createDialer, type DialProtocol } from "../../adapters/cluster/dial.ts";
import { silentLogger } from "../../src/ports.ts";
import type { WorkerClient } from "../../src/rpc/client.ts";
import { workerRoutes } from "../../src/rpc/server.ts";
import { Channel } from "../../src/run/channel.ts";
import type { ToWorker } from "../../src/run/link.ts";
import { cases } from "./cases.ts";
import { EchoEndpoint, toJson } from "./echo.ts";

const protocols: readonly DialProtocol[] = ["grpc", "connect", "grpc-web"];

describe.each(protocols)("%s over HTTP/2", (transport) => {
  const endpoint = new EchoEndpoint();
  let listener: Listener;
  let client: WorkerClient;

  beforeAll(async () => {
    listener = await listen({
      address: { host: "127.0.0.1", port: 0 },
      routes: workerRoutes(endpoint, { toJson }),
      logger: silentLogger,
    });
    client = createDialer({ transport }).dial(`127.0.0.1:${listener.address.port}`);
  });

  afterAll(async () => {
    await client.close();
    await listener.close();
  });

  it.each(Object.entries(cases))("%s", (_name, run) => run(client));

  it("close ends what is under way, and says so", async () => {
    const other = createDialer({ transport }).dial(`127.0.0.1:${listener.address.port}`);
    const link = other.link(new Channel<ToWorker>(1), new AbortController().signal);
    const idle = link[Symbol.asyncIterator]().next();
    await other.describe();
    await other.close();
    await expect(Promise.race([idle, other.describe()])).rejects.toMatchObject({ code: "Cancelled" });
  });
});
