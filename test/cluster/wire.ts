/** A TCP proxy of a test's own that cuts, stalls and resets what goes through it. */
import { connect, createServer, type Server, type Socket } from "node:net";

interface Pair {
  readonly near: Socket;
  readonly far: Socket;
}

export class Wire {
  readonly #target: { readonly host: string; readonly port: number };
  readonly #server: Server;
  readonly #pairs: Set<Pair> = new Set();
  #stalled = false;
  #refusing = false;

  private constructor(target: string) {
    const [host = "", port = ""] = target.split(":");
    this.#target = { host, port: Number(port) };
    this.#server = createServer((socket) => this.#accept(socket));
  }

  static async open(target: string): Promise<Wire> {
    const wire = new Wire(target);
    await new Promise<void>((resolve, reject) => {
      wire.#server.once("error", reject);
      wire.#server.listen(0, "127.0.0.1", resolve);
    });
    return wire;
  }

  get address(): string {
    const address = this.#server.address();
    return `127.0.0.1:${typeof address === "object" && address ? address.port : 0}`;
  }

  /** Ends every connection in order (FIN), as a proxy that is stopped does. */
  cut(): void {
    for (const { near, far } of this.#pairs) {
      near.end();
      far.end();
    }
  }

  /** Ends every connection with RST: what was under way is lost. */
  reset(): void {
    for (const { near, far } of this.#pairs) {
      near.resetAndDestroy();
      far.resetAndDestroy();
    }
  }

  /** Nothing goes through in either direction, and nobody is told; new connections are taken and stall too. */
  stall(on: boolean): void {
    if (on === this.#stalled) return;
    this.#stalled = on;
    for (const pair of this.#pairs) this.#apply(pair);
  }

  /** New connections are reset at once, those that are there as well. */
  refuse(on: boolean): void {
    this.#refusing = on;
    if (on) this.reset();
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.reset();
    await closed;
  }

  #accept(near: Socket): void {
    near.on("error", () => {});
    if (this.#refusing) {
      near.resetAndDestroy();
      return;
    }
    const far = connect({ ...this.#target, noDelay: true });
    far.on("error", () => {});
    const pair = { near, far };
    this.#pairs.add(pair);
    for (const socket of [near, far]) {
      socket.once("close", () => {
        this.#pairs.delete(pair);
        near.destroy();
        far.destroy();
      });
    }
    near.setNoDelay(true);
    if (!this.#stalled) this.#apply(pair);
  }

  #apply({ near, far }: Pair): void {
    if (this.#stalled) {
      near.unpipe(far).pause();
      far.unpipe(near).pause();
    } else {
      near.pipe(far);
      far.pipe(near);
    }
  }
}
