// Runs once in vitest's main process: hands databases to the test files, each of which has a process of its own. The
// server is started by the first that asks, so that a run of one pure unit test starts none.
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SharedServer } from "./postgres.ts";

export async function setup(): Promise<(() => Promise<void>) | undefined> {
  // vitest calls this for each project of its configuration; one broker serves all of them.
  if (process.env.AGENTMATIC_TEST_BROKER) return undefined;
  const shared = new SharedServer();
  const folder = mkdtempSync(join(tmpdir(), "agentmatic-tests-"));
  const path = join(folder, "broker");
  const broker = createServer((socket) => {
    socket.on("error", () => {});
    shared.createDatabase().then(
      (url) => socket.end(JSON.stringify({ url })),
      (error: Error) => socket.end(JSON.stringify({ error: error.message })),
    );
  });
  await new Promise<void>((resolve) => broker.listen(path, resolve));
  broker.unref();
  process.env.AGENTMATIC_TEST_BROKER = path;
  return async () => {
    delete process.env.AGENTMATIC_TEST_BROKER;
    broker.close();
    await shared.stop();
    rmSync(folder, { recursive: true, force: true });
  };
}
