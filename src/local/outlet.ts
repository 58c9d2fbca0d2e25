/** The events of one run on their way to its reader: bounded, and what waits is felt by the run. */
import { AgentmaticError } from "../errors.ts";
import { Backlog, both, eventBytes } from "../run/backlog.ts";
import { Channel } from "../run/channel.ts";
import { type RunEvent, unreadBytesMax } from "../run/events.ts";

/** Events of one run that wait for their reader. */
const eventBufferMax = 1_024;

export class Outlet {
  readonly #channel: Channel<RunEvent> = new Channel(eventBufferMax);
  /** Settles when the last event was taken, or its reader has left. */
  #last: Promise<void> | undefined;
  readonly #backlog: Backlog = new Backlog();

  /** A step may say more than its reader takes, up to a bound; beyond it the reader is told, and the run goes on. */
  readonly emit = (event: RunEvent): void => {
    if (this.#channel.closed) return;
    this.#backlog.add(eventBytes(event));
    if (this.#backlog.bytes > unreadBytesMax) {
      const text = `over ${unreadBytesMax} bytes of events were not read`;
      this.#channel.close(new AgentmaticError("ResourceExhausted", text));
      this.#backlog.clear();
      return;
    }
    this.#last = this.#channel.send(event).catch(() => undefined);
  };

  readonly flow = (): Promise<void> | undefined =>
    both(this.#last, this.#channel.closed ? undefined : this.#backlog.flow());

  /** For one reader. */
  async *events(): AsyncGenerator<RunEvent, void> {
    try {
      for await (const event of this.#channel) {
        this.#backlog.take(eventBytes(event));
        yield event;
      }
    } finally {
      this.#backlog.clear();
    }
  }

  /** Once the run has ended; what its last superstep said is still on its way. */
  async close(): Promise<void> {
    await this.#last;
    this.#channel.close();
  }
}
