/** What really ran, written down by the tools themselves: it stands outside of the engine and its store. */
import { appendFileSync, existsSync, readFileSync } from "node:fs";

export interface Entry {
  /** Of the process: 1, 2 or 3. */
  readonly process: number;
  readonly tool: string;
  readonly about: string;
  readonly key: string;
  readonly event: "started" | "finished";
}

export class Journal {
  readonly #file: string;

  constructor(file: string) {
    this.#file = file;
  }

  /** One line, which is there for every other process at once, and stays when this one is killed. */
  add(entry: Entry): void {
    appendFileSync(this.#file, `${JSON.stringify(entry)}\n`);
  }

  read(): readonly Entry[] {
    if (!existsSync(this.#file)) return [];
    const lines = readFileSync(this.#file, "utf8").split("\n").filter(Boolean);
    return lines.map((line) => JSON.parse(line) as Entry);
  }
}
