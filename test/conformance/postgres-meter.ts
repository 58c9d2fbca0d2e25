/** Counts what goes over a wire to Postgres. */
import { connect, createServer, type Server, type Socket } from "node:net";

/** Stands between a saver and its server. */
export class Meter implements AsyncDisposable {
  /** The server's URL, by way of this meter. */
  readonly url: string;
  /** How often a client began to speak after the server had: round trips. */
  turns = 0;
  /** What clients sent first: the settings of their sessions. */
  readonly startups: string[] = [];
  readonly #server: Server;
  readonly #sockets: Set<Socket> = new Set();

  private constructor(target: URL, server: Server, port: number) {
    const url = new URL(target);
    url.host = `127.0.0.1:${port}`;
    this.url = url.href;
    this.#server = server;
    server.on("connection", (client) => this.#join(client, connect(Number(target.port || 5432), target.hostname)));
  }

  static async at(target: string): Promise<Meter> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    return new Meter(new URL(target), server, typeof address === "object" && address ? address.port : 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #join(client: Socket, server: Socket): void {
    let clientMaySpeak = true;
    let started = false;
    for (const [socket, other] of [[client, server] as const, [server, client] as const]) {
      this.#sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
    client.on("data", (chunk) => {
      if (!started) this.startups.push(chunk.toString("latin1"));
      started = true;
      if (clientMaySpeak) this.turns += 1;
      clientMaySpeak = false;
      server.write(chunk);
    });
    server.on("data", (chunk) => {
      clientMaySpeak = true;
      client.write(chunk);
    });
  }
}
