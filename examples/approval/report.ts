/** What came of it, as a table for people and as facts for programs. */
import type { Entry } from "./journal.ts";

export interface Row {
  readonly call: string;
  /** The processes in which it was begun. */
  readonly started: readonly number[];
  readonly finished: readonly number[];
  /** One, if all is well: a service that gets it makes the effect once. */
  readonly keys: readonly string[];
}

export interface Report {
  readonly table: string;
  readonly result: {
    readonly calls: readonly Row[];
    readonly modelCalls: number;
    readonly asked: readonly unknown[];
    readonly answer: string;
  };
  readonly ok: boolean;
}

export function report(
  entries: readonly Entry[],
  modelCalls: number,
  asked: readonly unknown[],
  answer: string,
): Report {
  const calls = rowsOf(entries);
  // Finished calls ran once, each call ended once and has one key, and the model was asked once for each turn.
  const once = calls.every(({ finished, keys }) => finished.length === 1 && keys.length === 1);
  const ok = once && calls.length === 3 && modelCalls === 3 && asked.length === 1 && answer !== "";
  return { table: tableOf(calls), result: { calls, modelCalls, asked, answer }, ok };
}

function rowsOf(entries: readonly Entry[]): readonly Row[] {
  const names = [...new Set(entries.map(nameOf))];
  return names.map((call) => {
    const own = entries.filter((entry) => nameOf(entry) === call);
    const of = (event: Entry["event"]) => own.filter((entry) => entry.event === event).map((entry) => entry.process);
    return { call, started: of("started"), finished: of("finished"), keys: [...new Set(own.map(({ key }) => key))] };
  });
}

function nameOf({ tool, about }: Entry): string {
  return `${tool}(${about})`;
}

function tableOf(rows: readonly Row[]): string {
  const lines = [
    ["tool call", "begun in process", "finished in process", "idempotency key"],
    ...rows.map(({ call, started, finished, keys }) => [
      call,
      started.join(", "),
      finished.join(", "),
      keys.join(" and "),
    ]),
  ];
  const widths = [0, 1, 2, 3].map((column) => Math.max(...lines.map((cells) => cells[column]!.length)));
  return `${lines
    .map((cells) =>
      cells
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join("  ")
        .trimEnd(),
    )
    .join("\n")}\n`;
}
