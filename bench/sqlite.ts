/**
 * Measures the SQLite saver's commits beside a bare insert loop with the same settings and the same file system, in one
 * run: only the ratios mean anything on a machine that does other things too.
 *
 *   node bench/sqlite.ts [SECONDS a row, default 2]
 *
 * Measured: commits of one superstep (a 300-byte value, a 100-byte body), 50 a run, with admission and claim of each run
 * (not counted) among them; latency from call to durable answer; the event loop's delays. Not measured: reads, task
 * writes, values of many kilobytes, a file larger than memory.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import process from "node:process";
import { DatabaseSync } from "node:sqlite";
import { SqliteSaver } from "../adapters/sqlite/mod.ts";

const program = import.meta.filename;
const commitsPerRun = 50;
const [, , first = "2", path, atOnce] = process.argv;
const ms = Number(first) * 1000;

if (path === undefined) await table();
else await measureSaver(path, Number(atOnce));

async function table(): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "agentmatic-sqlite-bench-"));
  try {
    for (const [processes, threads] of [
      [1, 1],
      [1, 16],
      [1, 64],
      [4, 1],
      [4, 16],
    ] as const) {
      if (processes === 1) measureBare(join(folder, "bare.db"), threads);
      const file = join(folder, `${processes}-${threads}.db`);
      await Promise.all(
        Array.from({ length: processes }, () =>
          once(spawn(process.execPath, [program, first, file, String(threads)], { stdio: "inherit" }), "exit"),
        ),
      );
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function measureBare(file: string, rows: number): void {
  const db = new DatabaseSync(file);
  db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS bare (id INTEGER PRIMARY KEY, thread INTEGER, seq INTEGER, name TEXT, value BLOB);
    CREATE INDEX IF NOT EXISTS bare_seq ON bare (thread, seq)`);
  const insert = db.prepare("INSERT INTO bare (thread, seq, name, value) VALUES (?, ?, ?, ?)");
  const latencies: number[] = [];
  const began = performance.now();
  for (let seq = 0; performance.now() - began < ms; seq++) {
    const start = performance.now();
    db.exec("BEGIN IMMEDIATE");
    for (let thread = 0; thread < rows; thread++) insert.run(thread, seq, `run-${thread}-${seq}`, new Uint8Array(500));
    db.exec("COMMIT");
    latencies.push(performance.now() - start);
  }
  report(`bare inserts, ${rows} a transaction`, latencies.length * rows, performance.now() - began, latencies);
  db.close();
}

async function measureSaver(file: string, threads: number): Promise<void> {
  const store = new SqliteSaver({ path: file });
  await store.setup();
  const latencies: number[] = [];
  const loop = monitorEventLoopDelay({ resolution: 1 });
  loop.enable();
  const began = performance.now();
  await Promise.all(Array.from({ length: threads }, (_, thread) => commits(store, thread, began + ms, latencies)));
  const tail = `; event loop delayed p99 ${(loop.percentile(99) / 1e6).toFixed(1)}, max ${(loop.max / 1e6).toFixed(1)} ms`;
  report(`saver, ${threads} threads at once`, latencies.length, performance.now() - began, latencies, tail);
  await store.close();
}

async function commits(store: SqliteSaver, thread: number, untilMs: number, latencies: number[]): Promise<void> {
  for (let round = 0; performance.now() < untilMs; round++) {
    const threadId = `${process.pid}-${thread}-${round}`;
    const runId = `run-${threadId}`;
    const graph = { name: "bench", version: "1" };
    const limits = { maxSteps: commitsPerRun, maxAttempts: 3, createdAtMs: 0 };
    const input = { kind: "input", input: new Uint8Array(100), inputHash: "same", correlationId: "bench" } as const;
    await store.admit({ spec: { runId, threadId, graph, ...input, ...limits }, coordinator: null, whenBusy: "reject" });
    const { fence } = await store.claim({ threadId, runId, attempt: 1, owner: "bench", nonce: crypto.randomUUID() });
    let parentId: string | null = null;
    for (let step = 1; step <= commitsPerRun && performance.now() < untilMs; step++) {
      const checkpointId: string = `${runId}:${step}`;
      const values = { value: new Uint8Array(300) };
      const body = new Uint8Array(100);
      const checkpoint = { ns: "", checkpointId, parentId, runId, step, versions: { value: step }, values, body };
      const start = performance.now();
      const [result] = await store.commit([
        { fence, expectedHead: parentId, commitId: checkpointId, seq: step, checkpoint },
      ]);
      latencies.push(performance.now() - start);
      if (!result?.ok) throw result?.error;
      parentId = checkpointId;
    }
  }
}

function report(what: string, count: number, tookMs: number, latencies: number[], tail = ""): void {
  latencies.sort((a, b) => a - b);
  const at = (part: number) => (latencies[Math.floor((latencies.length - 1) * part)] ?? 0).toFixed(2);
  const rate = ((count / tookMs) * 1000).toFixed(0);
  console.info(`${what}: ${rate}/s; p50 ${at(0.5)}, p99 ${at(0.99)}, max ${at(1)} ms${tail}`);
}
