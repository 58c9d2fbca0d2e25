import type { Writable } from "node:stream";

export interface WorkerLoad {
  readonly name: string;
  readonly state: "starting" | "up" | "frozen" | "dead";
  /** Runs it holds now. */
  readonly active: number;
}

export interface Snapshot {
  readonly finished: number;
  readonly total: number;
  readonly seconds: number;
  /** Runs a second over the last moments. */
  readonly runsPerSecond: number;
  readonly workers: readonly WorkerLoad[];
}

const BAR_WIDTH = 24;
const REDRAW_MS = 200;
const PLAIN_MS = 5_000;
const RATE_WINDOW_MS = 3_000;
const DEFAULT_COLUMNS = 100;

/** One line: bar, share, rate, and each worker's load. */
export function progressLine(snapshot: Snapshot): string {
  const { finished, total, seconds, runsPerSecond, workers } = snapshot;
  const share = total === 0 ? 1 : finished / total;
  const full = Math.floor(share * BAR_WIDTH);
  const bar = "█".repeat(full) + "░".repeat(BAR_WIDTH - full);
  const loads = workers.map(({ name, state, active }) => `${name} ${state === "up" ? active : state}`).join(" · ");
  const rate = `${runsPerSecond.toFixed(0).padStart(3)} runs/s`;
  return `${bar} ${String(Math.floor(share * 100)).padStart(3)} %  ${finished}/${total}  ${rate}  ${seconds.toFixed(0)} s  ${loads}`;
}

/** Runs a second between the oldest and the newest sample. Samples are (milliseconds, finished) pairs. */
export function recentRate(samples: readonly (readonly [number, number])[]): number {
  const [first, last] = [samples[0], samples.at(-1)];
  if (first === undefined || last === undefined || last[0] <= first[0]) return 0;
  return ((last[1] - first[1]) * 1000) / (last[0] - first[0]);
}

/** Draws progress until it is closed: one line redrawn on a terminal, a line now and then elsewhere. */
export class Progress {
  readonly #out: Writable & { isTTY?: boolean; columns?: number };
  readonly #read: () => Omit<Snapshot, "runsPerSecond">;
  readonly #samples: [number, number][] = [];
  readonly #timer: NodeJS.Timeout;

  constructor(out: Writable & { isTTY?: boolean; columns?: number }, read: () => Omit<Snapshot, "runsPerSecond">) {
    this.#out = out;
    this.#read = read;
    this.#samples.push([performance.now(), read().finished]);
    this.#timer = setInterval(() => this.#draw(), out.isTTY ? REDRAW_MS : PLAIN_MS);
  }

  /** Prints a line of its own above the bar. */
  note(text: string): void {
    this.#out.write(this.#out.isTTY ? `\r\x1b[K${text}\n` : `${text}\n`);
    if (this.#out.isTTY) this.#draw();
  }

  /** Draws the last state and stops. */
  close(): void {
    clearInterval(this.#timer);
    this.#draw();
    if (this.#out.isTTY) this.#out.write("\n");
  }

  #draw(): void {
    const now = performance.now();
    const state = this.#read();
    this.#samples.push([now, state.finished]);
    while (this.#samples.length > 2 && this.#samples[1]![0] < now - RATE_WINDOW_MS) this.#samples.shift();
    const line = progressLine({ ...state, runsPerSecond: recentRate(this.#samples) });
    if (this.#out.isTTY) this.#out.write(`\r\x1b[K${line.slice(0, (this.#out.columns ?? DEFAULT_COLUMNS) - 1)}`);
    else this.#out.write(`${line}\n`);
  }
}
