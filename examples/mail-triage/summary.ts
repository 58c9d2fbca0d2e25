import type { Report } from "./report.ts";
import type { TicketCount } from "./ticket.ts";

export interface SummaryFacts {
  readonly report: Report;
  readonly tickets: TicketCount;
  /** The store's kind: `sqlite`, `postgres`, `memory`. Never its URL, which may hold a password. */
  readonly store: string;
  readonly seconds: number;
  readonly kills: number;
  readonly freezes: number;
  readonly unfenced: boolean;
}

/** True where the promise was kept: no run lost, nothing committed or run twice, nothing taken back. */
export function isClean({ lost, committedTwice, finishedTasksRerun, vanished }: Report): boolean {
  return lost + committedTwice + finishedTasksRerun + vanished === 0;
}

/** The report in words. */
export function summary({ report, tickets, kills, freezes, unfenced, seconds }: SummaryFacts): string {
  const { accuracy, measured } = report;
  const percent =
    accuracy === null ? "not measured" : `${(accuracy * 100).toFixed(1)} % of ${measured} mails kept from training`;
  return [
    "",
    `${report.accepted} runs accepted, ${report.finished} finished, ${report.lost} lost, in ${seconds.toFixed(1)} s`,
    `  ${report.runsPerSecond} runs/s, ${report.stepsPerSecond} node executions/s`,
    `${kills} ${kills === 1 ? "worker" : "workers"} killed, ${freezes} frozen${unfenced ? ", with the fence switched OFF" : ""}`,
    `  ${report.killHandoffs} runs handed off after kills${within(report.killP99Ms)}`,
    `  ${report.freezeHandoffs} runs handed off after freezes${within(report.freezeP99Ms)}`,
    "the witness, outside of engine and store, saw",
    `  ${report.committedTwice} supersteps committed twice`,
    `  ${report.finishedTasksRerun} finished tasks run again`,
    `  ${report.vanished} committed writes vanished`,
    `  ${report.repeatedInFlight} tasks begun again that were in flight at a fault, ${report.staleStarts} stale starts (both allowed)`,
    `the tool was called ${tickets.calls} times for ${tickets.keys} tickets and had ${tickets.effects} effects`,
    `the classifier was right about ${percent}`,
  ].join("\n");
}

/** The last line: `RESULT ` and a JSON object whose first fields always are the same, in this order. */
export function resultLine({ report, tickets, store, seconds }: SummaryFacts): string {
  const { accepted, finished, lost, committedTwice, finishedTasksRerun, handoffs, handoffP50Ms, handoffP99Ms } = report;
  const { runsPerSecond, stepsPerSecond, accuracy, ...more } = report;
  const first = { accepted, finished, lost, committedTwice, finishedTasksRerun, handoffs, handoffP50Ms, handoffP99Ms };
  const rate = { runsPerSecond, stepsPerSecond, accuracy, store, seconds: Number(seconds.toFixed(1)) };
  const toolCalls = { ticketCalls: tickets.calls, tickets: tickets.keys, ticketEffects: tickets.effects };
  return `RESULT ${JSON.stringify({ ...first, ...rate, ...more, ...first, ...toolCalls })}`;
}

function within(ms: number | null): string {
  return ms === null ? "" : `, 99 of 100 within ${ms} ms`;
}
