import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, it, vi } from "vitest";
import { Fleet } from "../fleet.ts";

const logFolder = mkdtempSync(join(tmpdir(), "mail-triage-"));
afterAll(() => rmSync(logFolder, { recursive: true }));

const fleets: Fleet[] = [];
afterEach(async () => {
  for (const fleet of fleets.splice(0)) await fleet.close();
});

function fleetOf(script: string, startMs?: number): Fleet {
  const command = [process.execPath, "-e", script] as const;
  const fleet = new Fleet({ command, env: process.env, logFolder, ...(startMs === undefined ? {} : { startMs }) });
  fleets.push(fleet);
  return fleet;
}

const listening = `console.log("agentmatic-worker listening on 127.0.0.1:4001 (metrics 127.0.0.1:4002) id=" + process.pid); setInterval(() => {}, 1000);`;

/** The process's state letter as the kernel has it: T is stopped. */
function stateOf(pid: number): string {
  try {
    return /^State:\s+(\S)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]!;
  } catch {
    return "gone";
  }
}

describe("fleet", () => {
  it("knows a worker by the line it prints", async () => {
    const fleet = fleetOf(listening);
    const worker = await fleet.start();
    expect(worker).toEqual({
      name: "w1",
      pid: worker.pid,
      address: "127.0.0.1:4001",
      metrics: "127.0.0.1:4002",
      id: String(worker.pid),
    });
    expect((await fleet.start()).name).toBe("w2");
    expect(fleet.up().map((each) => each.name)).toEqual(["w1", "w2"]);
  });

  it.runIf(process.platform === "linux")("kills, freezes and lets go on, by process", async () => {
    const fleet = fleetOf(listening);
    const [one, two] = [await fleet.start(), await fleet.start()];
    fleet.freeze(two.name);
    await vi.waitFor(() => expect(stateOf(two.pid)).toBe("T"));
    await fleet.kill(one.name);
    expect([fleet.state("w1"), fleet.state("w2"), fleet.up()]).toEqual(["dead", "frozen", []]);
    expect(stateOf(one.pid)).toBe("gone");
    fleet.thaw(two.name);
    await vi.waitFor(() => expect(stateOf(two.pid)).not.toBe("T"));
    expect(fleet.up()).toEqual([two]);
    expect(() => fleet.freeze(one.name)).toThrow("no live worker w1");
  });

  it.runIf(process.platform === "linux")("ends all of them, frozen ones too", async () => {
    const fleet = fleetOf(listening);
    const [one, two] = [await fleet.start(), await fleet.start()];
    fleet.freeze(one.name);
    await fleet.close();
    expect([stateOf(one.pid), stateOf(two.pid)]).toEqual(["gone", "gone"]);
  });

  it("says why a worker did not start, with the end of its log", async () => {
    await expect(fleetOf(`console.error("--graphs: no such file"); process.exit(2)`).start()).rejects.toThrow(
      /w1 ended before it listened \(exit code 2\):\n--graphs: no such file/,
    );
    await expect(fleetOf("setInterval(() => {}, 1000)", 300).start()).rejects.toThrow("did not start within 300 ms");
    const missing = new Fleet({ command: ["/no/such/program"], env: {}, logFolder });
    await expect(missing.start()).rejects.toThrow("could not be started");
  });

  it("notes a worker that dies by itself", async () => {
    const fleet = fleetOf(`${listening} setTimeout(() => process.exit(1), 50);`);
    await fleet.start();
    await vi.waitFor(() => expect(fleet.state("w1")).toBe("dead"));
    await expect(fleet.unasked).rejects.toThrow("worker w1 ended by itself (1)");
  });
});
