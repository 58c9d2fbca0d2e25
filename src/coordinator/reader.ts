/** One reader of a run's events in this process: what waits for it is bounded, and felt by the run. */
import { AgentmaticError } from "../errors.ts";
import { backlogHighBytes, backlogLowBytes, eventBytes } from "../run/backlog.ts";
import { Channel } from "../run/channel.ts";
import { type EventKind, type RunEvent, unreadBytesMax } from "../run/events.ts";

/** From so many unread events the run is asked to wait, as from a high backlog of bytes; from so few it goes on. */
const highEvents = 1_024;
const lowEvents = 256;
/** What was under way when the run was asked, up to the end of its superstep, has room too; beyond it the reader is told. */
export const unreadEventsMax = 4_096;

export class Reader {
  readonly kinds: ReadonlySet<EventKind>;
  readonly #channel: Channel<RunEvent> = new Channel(unreadEventsMax);
  #bytes = 0;

  constructor(kinds: readonly EventKind[]) {
    this.kinds = new Set(kinds);
  }

  /** False where there is no room, or the reader has left. */
  push(event: RunEvent): boolean {
    if (this.#bytes + eventBytes(event) > unreadBytesMax || !this.#channel.push(event)) return false;
    this.#bytes += eventBytes(event);
    return true;
  }

  close(error?: AgentmaticError): void {
    this.#channel.close(error);
  }

  get isFull(): boolean {
    return this.#channel.size >= highEvents || this.#bytes >= backlogHighBytes;
  }

  get hasRoom(): boolean {
    return this.#channel.size <= lowEvents && this.#bytes <= backlogLowBytes;
  }

  /** For one reader. `changed` is called whenever it has taken an event, and when it has left. */
  events(changed: (left: boolean) => void): AsyncIterable<RunEvent> {
    return {
      [Symbol.asyncIterator]: () => {
        const events = this.#channel[Symbol.asyncIterator]();
        return {
          next: async () => {
            const next = await events.next();
            if (!next.done) {
              this.#bytes -= eventBytes(next.value);
              changed(false);
            }
            return next;
          },
          return: async () => {
            this.#channel.close();
            changed(true);
            return (await events.return?.()) ?? { done: true, value: undefined };
          },
        };
      },
    };
  }
}

export function tooFarBehind(runId: string): AgentmaticError {
  const text = `run ${runId}: the reader of its events is more than ${unreadEventsMax} of them, or ${unreadBytesMax} bytes, behind`;
  return new AgentmaticError("ResourceExhausted", text);
}
