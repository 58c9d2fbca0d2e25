/** Log lines on stderr as logfmt: `level=warn msg="…" key=value`, one event a line. */
import process from "node:process";
import type { Logger } from "../../src/ports.ts";

const levels = ["debug", "info", "warn", "error"] as const;
export type Level = (typeof levels)[number];

/** A value longer than this is cut: a log line is no place for content. */
const valueCharsMax = 1000;

/** The level that AGENTMATIC_LOG names; `info` where it names none. */
export function levelFrom(env: Readonly<Record<string, string | undefined>>): Level {
  const wanted = env.AGENTMATIC_LOG?.toLowerCase();
  return levels.find((level) => level === wanted) ?? "info";
}

export function stderrLogger(least: Level): Logger {
  const from = levels.indexOf(least);
  return {
    log(level, message, fields = {}) {
      if (levels.indexOf(level) < from) return;
      const pairs = Object.entries({ time: new Date().toISOString(), level, msg: message, ...fields });
      const parts = pairs.filter(([, value]) => value !== undefined).map(([key, value]) => `${key}=${shown(value)}`);
      process.stderr.write(`${parts.join(" ")}\n`);
    },
  };
}

function shown(value: unknown): string {
  const text = typeof value === "object" && value !== null ? JSON.stringify(value) : String(value);
  const cut = text.length > valueCharsMax ? `${text.slice(0, valueCharsMax)}…` : text;
  return /^[\w.:/@+-]+$/.test(cut) ? cut : JSON.stringify(cut);
}
