import { Writable } from "node:stream";
import { describe, expect, it } from "vitest";
import { HELP, OptionError, parseOptions } from "../options.ts";
import { Progress, progressLine, recentRate } from "../progress.ts";

describe("options", () => {
  it("has the defaults that the help names", () => {
    const options = parseOptions([]);
    expect(options).toEqual({
      mails: "all",
      workers: 3,
      store: null,
      kills: 1,
      freezes: 1,
      unfenced: false,
      llm: null,
      seed: 1,
      keep: false,
    });
    expect(HELP).toContain("(default all)");
  });

  it("takes what one would guess", () => {
    const args =
      "--mails 500 --workers=5 --store postgres://u:p@h/db --kills 2 --freezes 0 --unfenced --llm m --seed 9 --keep".split(
        " ",
      );
    expect(parseOptions(args)).toEqual({
      mails: 500,
      workers: 5,
      store: "postgres://u:p@h/db",
      kills: 2,
      freezes: 0,
      unfenced: true,
      llm: "m",
      seed: 9,
      keep: true,
    });
    expect(parseOptions(["--mails", "all"])).toMatchObject({ mails: "all" });
    expect([parseOptions(["--help"]), parseOptions(["-h"])]).toEqual(["help", "help"]);
  });

  it.each([
    [["--mails", "0"], "--mails"],
    [["--mails", "6047"], "--mails"],
    [["--mails", "1e3"], "--mails"],
    [["--mails"], "--mails"],
    [["--workers", "many"], "--workers"],
    [["--workers", "1"], "--workers"],
    [["--kills", "-1"], "--kills"],
    [["--kills", "--freezes"], "--kills"],
    [["--store", "mysql://secret@h"], "--store"],
    [["--llm", " "], "--llm"],
    [["--seed", "0x10"], "--seed"],
    [["--unfenced=yes"], "--unfenced"],
    [["--speed", "9"], "--speed"],
    [["500"], "500"],
  ])("%j is one line that names it", (args, name) => {
    expect(() => parseOptions(args)).toThrow(OptionError);
    expect(() => parseOptions(args)).toThrow(name);
    expect(() => parseOptions(args)).toThrow(/^[^\n]{1,160}$/);
    expect(() => parseOptions(args)).not.toThrow(/secret/);
  });
});

describe("progress", () => {
  const snapshot = {
    finished: 50,
    total: 200,
    seconds: 12.4,
    runsPerSecond: 41.6,
    workers: [
      { name: "w1", state: "up" as const, active: 7 },
      { name: "w2", state: "frozen" as const, active: 3 },
    ],
  };

  it("shows bar, share, rate and each worker's load", () => {
    expect(progressLine(snapshot)).toBe("██████░░░░░░░░░░░░░░░░░░  25 %  50/200   42 runs/s  12 s  w1 7 · w2 frozen");
  });

  it("takes the rate of the last moments", () => {
    expect(
      recentRate([
        [1000, 10],
        [2000, 50],
        [3000, 110],
      ]),
    ).toBe(50);
    expect([recentRate([]), recentRate([[5, 5]])]).toEqual([0, 0]);
  });

  it("redraws on a terminal and prints plain lines elsewhere", () => {
    for (const isTTY of [true, false]) {
      const written: string[] = [];
      const out = Object.assign(
        new Writable({
          write(chunk, _encoding, done) {
            written.push(String(chunk));
            done();
          },
        }),
        { isTTY, columns: 60 },
      );
      const progress = new Progress(out, () => snapshot);
      progress.note("w2 was frozen");
      progress.close();
      const all = written.join("");
      expect(all.includes("\x1b[K")).toBe(isTTY);
      expect(all.split("\n").some((line) => line.endsWith("w2 was frozen"))).toBe(true);
      expect(all.endsWith("\n")).toBe(true);
      if (isTTY) expect(written.filter((line) => line.includes("█")).every((line) => line.length < 60 + 4)).toBe(true);
    }
  });
});
