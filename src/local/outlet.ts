/** The events of one run on their way to its reader: bounded, and what waits is felt by the run. */
import { AgentmaticError } from "../errors.ts";
import { Channel } from "../run/channel.ts";
import { eventOverheadBytes, type RunEvent, unreadBytesMax } from "../run/events.ts";

/** Events of one run that wait for their reader. */
const eventBufferMax = 1_024;

export class Outlet {
  readonly #channel: Channel<RunEvent> = new Channel(eventBufferMax);
  /** Settles when the last event was taken, or its reader has left. */
  #last: Promise<void> | undefined;
  /** Of events that were not taken yet. */
  #bytes = 0;

  /** A step may say more than its reader takes, up to a bound; beyond it the reader is told, and the run goes on. */
  readonly emit = (event: RunEvent): void => {
    if (this.#channel.closed) return;
    this.#bytes += event.data.length + eventOverheadBytes;
    if (this.#bytes > unreadBytesMax) {
      const text = `over ${unreadBytesMax} bytes of events were not read`;
      this.#channel.close(new AgentmaticError("ResourceExhausted", text));
      return;
    }
    this.#last = this.#channel.send(event).catch(() => undefined);
  };

  readonly flow = (): Promise<void> | undefined => this.#last;

  /** For one reader. */
  async *events(): AsyncGenerator<RunEvent, void> {
    for await (const event of this.#channel) {
      this.#bytes -= event.data.length + eventOverheadBytes;
      yield event;
    }
  }

  /** Once the run has ended; what its last superstep said is still on its way. */
  async close(): Promise<void> {
    await this.#last;
    this.#channel.close();
  }
}
