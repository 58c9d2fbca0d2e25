import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { packageVersion } from "../../adapters/_shared/version.ts";
import { parseFlags } from "../../bin/flags.ts";
import { settingsFrom } from "../../bin/settings.ts";
import { type Child, run, start } from "../support/process.ts";
import { until } from "../support/wait.ts";

const root = join(import.meta.dirname, "..", "..");
const program = join(root, "bin", "agentmatic-worker.ts");
const fixtures = join(root, "test", "fixtures", "graphs.ts");
const folder = mkdtempSync(join(tmpdir(), "agentmatic-command-"));
const children: Child[] = [];
const noEnv = {
  AGENTMATIC_GRAPHS: undefined,
  AGENTMATIC_STORE: undefined,
  AGENTMATIC_SQLITE_PATH: undefined,
  DATABASE_URL: undefined,
  PGHOST: undefined,
  PGDATABASE: undefined,
  PGUSER: undefined,
};

afterEach(async () => {
  for (const child of children.splice(0)) await child.kill();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const parse = (...args: string[]) => parseFlags(args, "1.2.3", () => {});

describe("flags", () => {
  it("are read, with their defaults", () => {
    expect(parse()).toEqual({ listen: "127.0.0.1:9090", label: {} });
    const given = parse(
      ...["--listen", "0.0.0.0:9090", "--metrics", "[::]:9091", "--graphs", "./g.ts", "--store", "memory:"],
      ...["--region", "eu-west-1", "--label", "gpu=yes", "--label", "a/b=c=d", "--slots", "4", "--name", "box"],
      ...["--drain-ms", "0", "--heartbeat-ms", "250", "--lease-ms", "1000"],
    );
    expect(given).toEqual({
      listen: "0.0.0.0:9090",
      metrics: "[::]:9091",
      graphs: "./g.ts",
      store: "memory:",
      region: "eu-west-1",
      label: { gpu: "yes", "a/b": "c=d" },
      slots: 4,
      name: "box",
      drainMs: 0,
      heartbeatMs: 250,
      leaseMs: 1000,
    });
  });

  it.each([
    [["--port", "1"], "--port"],
    [["--listen"], "--listen"],
    [["--listen", "9090"], "--listen"],
    [["--listen", "a:70000"], "--listen"],
    [["--metrics", "http://a:1"], "--metrics"],
    [["--slots", "0"], "--slots"],
    [["--slots", "many"], "--slots"],
    [["--slots", "1.5"], "--slots"],
    [["--slots=-1"], "--slots"],
    [["--drain-ms", "1e3"], "--drain-ms"],
    [["--heartbeat-ms", ""], "--heartbeat-ms"],
    [["--label", "novalue"], "--label"],
    [["--label", "=x"], "--label"],
    [["--lisen", "a:1"], "--lisen"],
    [["graphs.ts"], "graphs.ts"],
  ])("%j is refused in one line that names it", (args, named) => {
    expect(() => parse(...args)).toThrow(expect.objectContaining({ code: "InvalidArgument" }));
    try {
      parse(...args);
    } catch (thrown) {
      const { message } = thrown as Error;
      expect(message).toContain(named);
      expect(message).not.toContain("\n");
    }
  });

  it("help and version are printed", () => {
    let text = "";
    const print = (part: string) => {
      text += part;
    };
    expect(parseFlags(["--version"], "1.2.3", print)).toBeUndefined();
    expect(text).toBe("1.2.3\n");
    expect(parseFlags(["--help"], "1.2.3", print)).toBeUndefined();
    for (const flag of [
      "--listen",
      "--metrics",
      "--graphs",
      "--store",
      "--region",
      "--label",
      "--slots",
      "AGENTMATIC_GRAPHS",
    ]) {
      expect(text).toContain(flag);
    }
  });
});

describe("graphs and store", () => {
  const flags = { listen: "127.0.0.1:0", label: {} };
  const withGraphs = { ...flags, graphs: fixtures };
  const settings = (given: object, env: Record<string, string> = {}, at = folder) =>
    settingsFrom({ ...flags, ...given }, env, at);
  const refused = (message: RegExp) =>
    expect.objectContaining({ code: "InvalidArgument", message: expect.stringMatching(message) });

  it("the store comes from the flag, then from the environment in its order", async () => {
    const all = {
      AGENTMATIC_STORE: "sqlite:a.db",
      DATABASE_URL: "postgres://b",
      PGHOST: "c",
      AGENTMATIC_SQLITE_PATH: "/d e.db",
    };
    const order: (keyof typeof all)[] = ["AGENTMATIC_STORE", "DATABASE_URL", "PGHOST", "AGENTMATIC_SQLITE_PATH"];
    const expected = ["sqlite:a.db", "postgres://b", "postgres:", "sqlite:///d%20e.db"];
    expect((await settings({ ...withGraphs, store: "memory:" }, all)).store).toBe("memory:");
    for (const [index, store] of expected.entries()) {
      const env = Object.fromEntries(order.slice(index).map((name) => [name, all[name]]));
      expect((await settings(withGraphs, env)).store).toBe(store);
    }
    await expect(settings(withGraphs)).rejects.toThrow(
      refused(/^--store is not given.*AGENTMATIC_STORE.*DATABASE_URL/),
    );
  });

  it("the graphs come from the flag, the environment or the configuration file", async () => {
    const store = { AGENTMATIC_STORE: "memory:" };
    expect(Object.keys((await settings(withGraphs, store)).graphs)).toContain("echo");
    expect(Object.keys((await settings({}, { ...store, AGENTMATIC_GRAPHS: fixtures })).graphs)).toContain("echo");
    await expect(settings({}, store)).rejects.toThrow(
      refused(/^--graphs is not given.*AGENTMATIC_GRAPHS.*agentmatic\.config\.ts/),
    );
    const configured = mkdtempSync(join(folder, "configured-"));
    const text = `import { echo } from ${JSON.stringify(fixtures)};\nexport default { graphs: [echo], store: "sqlite:of-config.db" };\n`;
    writeFileSync(join(configured, "agentmatic.config.mjs"), text);
    expect((await settings({}, {}, configured)).store).toBe("sqlite:of-config.db");
    expect((await settings({}, store, configured)).store).toBe("memory:");
    expect((await settings({}, { DATABASE_URL: "postgres://b" }, configured)).store).toBe("sqlite:of-config.db");
  });

  it.each([
    ["./nowhere.ts", /^--graphs \.\/nowhere\.ts is not there/],
    ["no-such-package", /^--graphs no-such-package cannot be loaded/],
    ["./empty.mjs", /^--graphs \.\/empty\.mjs has no compiled graph among its exports \(found: helper\)/],
    ["./broken.mjs", /^--graphs \.\/broken\.mjs cannot be loaded: the graphs are broken$/],
  ])("%s is refused, saying what was found", async (graphs, message) => {
    writeFileSync(join(folder, "empty.mjs"), "export const helper = 1;\n");
    writeFileSync(join(folder, "broken.mjs"), 'throw new Error("the graphs are broken");\n');
    await expect(settings({ graphs }, { AGENTMATIC_STORE: "memory:" })).rejects.toThrow(refused(message));
  });
});

describe("the program", () => {
  const launch = async (args: readonly string[], env: Record<string, string | undefined> = {}) => {
    const child = await start(process.execPath, [program, ...args], { cwd: folder, env: { ...noEnv, ...env } });
    children.push(child);
    return child;
  };
  const serving = ["--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--graphs", fixtures, "--store", "memory:"];
  const listening =
    /^agentmatic-worker listening on (127\.0\.0\.1:\d+) \(metrics (127\.0\.0\.1:\d+)\) id=([\w-]{22,})$/;

  it.each([
    [["--bogus"], "--bogus"],
    [["--slots", "x"], "--slots"],
    [["--graphs", "./nowhere.ts", "--store", "memory:"], "--graphs"],
    [["--graphs", fixtures], "--store"],
    [["--graphs", fixtures, "--store", "mongodb://h"], "--store"],
  ])("%j ends with exit code 2 and one line", async (args, named) => {
    const { code, output } = await run(process.execPath, [program, ...args], { cwd: folder, env: noEnv });
    expect(code).toBe(2);
    const lines = output
      .split("\n")
      .filter((line) => line !== "" && !/ExperimentalWarning|--trace-warnings/.test(line));
    expect(lines).toEqual([expect.stringContaining(named)]);
  });

  it("ends with exit code 1 and one line where its port is taken", async () => {
    const first = await launch(serving);
    const [, address = ""] = await first.line(listening);
    const args = [program, "--listen", address, "--graphs", fixtures, "--store", "memory:"];
    const { code, output } = await run(process.execPath, args, { cwd: folder, env: noEnv });
    expect(code).toBe(1);
    expect(output).toContain(`agentmatic-worker: cannot listen on ${address}: another process listens there already`);
    expect(output).not.toContain("    at ");
  });

  it("prints its version and its help", async () => {
    expect((await run(process.execPath, [program, "--version"])).output.trim()).toBe(packageVersion);
    const { code, output } = await run(process.execPath, [program, "--help"]);
    expect([code, output.includes("--listen <host:port>")]).toEqual([0, true]);
  });

  it("says where it listens, and ends with 0 when it is told to", async () => {
    const child = await launch(serving);
    await child.line(listening);
    expect(child.output).not.toContain("without TLS");
    child.signal("SIGTERM");
    expect(await child.exited).toEqual({ code: 0, signal: null });
  });

  it.runIf(process.platform === "linux")("shows no password among the machine's processes", async () => {
    const url = "postgres://me:hunter2@127.0.0.1:1/db";
    const child = await launch(["--listen", "127.0.0.1:0", "--graphs", fixtures, "--store", url]);
    await child.line(/^agentmatic-worker listening/);
    expect(readFileSync(`/proc/${child.pid}/cmdline`, "utf8")).not.toContain("hunter2");
    expect(child.output).not.toContain("hunter2");
  });

  it("warns, in one line, where other machines can reach it", async () => {
    const child = await launch(serving.with(1, "0.0.0.0:0"));
    await child.line(/^agentmatic-worker listening on 0\.0\.0\.0:\d+ /);
    expect(child.output.split("\n").filter((line) => line.includes("TLS"))).toHaveLength(1);
  });

  it("is not ready while it drains; a second signal ends it at once", async () => {
    const child = await launch([...serving, "--drain-ms", "60000"]);
    const [, address, metrics] = await child.line(listening);
    const status = async (path: string) => (await fetch(`http://${metrics}${path}`)).status;
    await until(async () => (await status("/readyz")) === 200, { what: "the worker to be ready" });
    const call = fetch(`http://${address}/agentmatic.v1.WorkerService/Execute`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      // One step that is longer than the test: the drain waits for its end.
      body: JSON.stringify({ newRun: { graph: "steps", input: { steps: 1, stepMs: 60_000 } } }),
    }).catch(() => undefined);
    await until(
      async () => (await (await fetch(`http://${metrics}/metrics`)).text()).includes("agentmatic_active_runs 1\n"),
      {
        what: "the run to begin",
      },
    );
    child.signal("SIGINT");
    await until(async () => (await status("/readyz")) === 503, { what: "the drain" });
    expect(await status("/healthz")).toBe(200);
    expect(child.ending).toBeUndefined();
    child.signal("SIGTERM");
    expect(await child.exited).toEqual({ code: 143, signal: null });
    await call;
  });

  it("hands its runs over when the drain's time is up", async () => {
    const child = await launch([...serving, "--drain-ms", "300"]);
    const [, address] = await child.line(listening);
    const call = fetch(`http://${address}/agentmatic.v1.WorkerService/Execute`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ newRun: { graph: "steps", input: { steps: 1000, stepMs: 10_000 } } }),
    }).then(
      (answer) => answer.json(),
      () => undefined,
    );
    await new Promise((resolve) => setTimeout(resolve, 300));
    const startMs = performance.now();
    child.signal("SIGTERM");
    expect(await child.exited).toEqual({ code: 0, signal: null });
    expect(performance.now() - startMs).toBeLessThan(5_000);
    await call;
  });

  it("survives what its nodes let go uncaught, and fails their run", async () => {
    const child = await launch(serving);
    const [, address] = await child.line(listening);
    const execute = async (graph: string, input: object) => {
      const answer = await fetch(`http://${address}/agentmatic.v1.WorkerService/Execute`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ newRun: { graph, input } }),
      });
      return (await answer.json()) as { end: { status: string; error?: { code: string; message: string } } };
    };
    const { end } = await execute("fault", { how: "timer" });
    expect(end.status).not.toBe("RUN_STATUS_SUCCEEDED");
    expect(child.output).toMatch(
      /level=error msg="a node let an error go uncaught: its run fails" graph=fault node=slip/,
    );
    expect((await execute("fault", { how: "throw" })).end.error).toMatchObject({ code: "NodeFailed" });
    expect((await execute("echo", { text: "still here" })).end.status).toBe("RUN_STATUS_SUCCEEDED");
    expect(child.ending).toBeUndefined();
  });
});
