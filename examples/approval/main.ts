// An agent that is killed in the middle of a tool call, goes on in another process, and is answered in a third.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SqliteSaver } from "agentmatic/sqlite";
import { byTurn, ModelServer } from "../../test/support/model-server.ts";
import { Journal } from "./journal.ts";
import { report } from "./report.ts";
import { type Setting, threadId } from "./setting.ts";

/** What a model says at each turn of the conversation. */
const script = byTurn([
  {
    text: "Let me compare.",
    calls: [
      { id: "call-1", name: "search_flights", arguments: { city: "Oslo" } },
      { id: "call-2", name: "search_flights", arguments: { city: "Bergen" } },
    ],
  },
  { calls: [{ id: "call-3", name: "book_flight", arguments: { city: "Bergen", fare: 95 } }] },
  { text: "Bergen is booked for 95." },
]);

const waitMsMax = 60_000;

const folder = mkdtempSync(join(tmpdir(), "agentmatic-approval-"));
const server = await ModelServer.listen(script);
const setting: Setting = {
  modelUrl: server.url,
  store: join(folder, "store.db"),
  journal: join(folder, "journal.jsonl"),
};
const journal = new Journal(setting.journal);
const children: ChildProcess[] = [];
try {
  console.log("process 1 asks the model and calls two tools side by side; Bergen's airport does not answer");
  const first = start(1, "ask", { ...setting, silent: "Bergen" });
  await oneIsStored();
  first.child.kill("SIGKILL");
  await first.ended;
  console.log("process 1 is killed: Oslo's result is stored, Bergen's call was in flight");

  console.log("process 2 takes over once the lease of the dead one has run out (10 s)");
  const second = JSON.parse(await start(2, "ask", setting).ended) as { asks: readonly unknown[] };
  console.log(`process 2 stops with a question: ${JSON.stringify(second.asks[0])}`);

  const third = JSON.parse(await start(3, "answer", setting).ended) as { text: string };
  console.log(`process 3 answers "approved", and the agent says: ${third.text}\n`);

  const { table, result, ok } = report(journal.read(), server.asked.length, second.asks, third.text);
  console.log(table);
  console.log(`RESULT ${JSON.stringify(result)}`);
  process.exitCode = ok ? 0 : 1;
} finally {
  for (const child of children) child.kill("SIGKILL");
  await server[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
}

/** `ended` has what it printed; it rejects where it failed by itself. */
function start(number: number, what: "ask" | "answer", own: Setting): { child: ChildProcess; ended: Promise<string> } {
  const program = join(import.meta.dirname, "process.ts");
  const child = spawn(process.execPath, ["--disable-warning=ExperimentalWarning", program, String(number), what], {
    env: { ...process.env, TRAVEL: JSON.stringify(own) },
    stdio: ["ignore", "pipe", "inherit"],
  });
  children.push(child);
  let output = "";
  child.stdout!.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  const ended = new Promise<string>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => {
      if (code === 0 || signal === "SIGKILL") resolve(output);
      else reject(new Error(`process ${number} ended with ${code ?? signal}`));
    });
  });
  ended.catch(() => undefined);
  return { child, ended };
}

/** One tool call's result is in the store, and the other call has begun. */
async function oneIsStored(): Promise<void> {
  const saver = new SqliteSaver({ path: setting.store });
  await saver.setup();
  try {
    for (const endMs = performance.now() + waitMsMax; performance.now() < endMs; ) {
      const stored = await saver.get(threadId, "");
      const done = stored?.writes.filter(({ kind }) => kind === "done").length ?? 0;
      if (done === 1 && journal.read().filter(({ event }) => event === "started").length === 2) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error(`no tool call was stored within ${waitMsMax} ms`);
  } finally {
    await saver.close();
  }
}
