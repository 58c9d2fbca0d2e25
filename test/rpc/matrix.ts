/**
 * The cases between two processes of any runtimes: `matrix.ts serve` prints its address, `matrix.ts call ADDRESS`
 * runs all cases over all protocols, prints a line for each that failed, and a last one with the counts.
 */
import process from "node:process";
import { listen } from "../../adapters/_shared/listen.ts";
import { createDialer, type DialProtocol } from "../../adapters/cluster/dial.ts";
import { silentLogger } from "../../src/ports.ts";
import { workerRoutes } from "../../src/rpc/server.ts";
import { cases } from "./cases.ts";
import { EchoEndpoint, toJson } from "./echo.ts";

const [verb, address = ""] = process.argv.slice(2);
const caseTimeoutMs = 20_000;
const protocols: readonly DialProtocol[] = ["grpc", "connect", "grpc-web"];

if (verb === "serve") await serve();
else await callAll();

async function serve(): Promise<void> {
  const routes = workerRoutes(new EchoEndpoint(), { toJson });
  const listener = await listen({ address: { host: "127.0.0.1", port: 0 }, routes, logger: silentLogger });
  process.on("SIGTERM", () => {
    void listener.close({ graceMs: 500 }).then(() => process.exit(0));
  });
  console.log(`serving on 127.0.0.1:${listener.address.port}`);
}

async function callAll(): Promise<void> {
  let passed = 0;
  let failed = 0;
  for (const transport of protocols) {
    const client = createDialer({ transport }).dial(address);
    for (const [name, run] of Object.entries(cases)) {
      try {
        await Promise.race([run(client), late()]);
        passed++;
      } catch (thrown) {
        failed++;
        console.log(`FAILED ${transport}: ${name}: ${thrown instanceof Error ? thrown.stack : String(thrown)}`);
      }
    }
    await client.close();
  }
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed === 0 ? 0 : 1);
}

function late(): Promise<never> {
  return new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`took longer than ${caseTimeoutMs} ms`)), caseTimeoutMs).unref();
  });
}
