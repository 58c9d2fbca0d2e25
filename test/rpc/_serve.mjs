import { listen } from "../../adapters/_shared/listen.ts"; import { workerRoutes } from "../../src/rpc/server.ts"; import { EchoEndpoint, toJson } from "./echo.ts";
const l = await listen({ address: { host: "127.0.0.1", port: 0 }, routes: workerRoutes(new EchoEndpoint(), { toJson }), logger: { log: (...a) => console.error(...a) } });
console.log("LISTEN " + l.address.port);
process.on("SIGTERM", async () => { const t = Date.now(); await l.close({ graceMs: 1000 }); console.log("closed in", Date.now() - t); process.exit(0); });
