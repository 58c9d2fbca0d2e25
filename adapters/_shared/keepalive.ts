/** Finds HTTP/2 connections whose other end is gone without a word: a host that lost power, a cable, a NAT entry. */
import type { ServerHttp2Session } from "node:http2";

/**
 * After `silentMs` without a frame the other end is asked for one (PING), and after as long again without an answer the
 * connection is destroyed, so that its streams' signals abort.
 */
export function keepalive(session: ServerHttp2Session, silentMs: number): void {
  session.setTimeout(silentMs, () => {
    if (session.destroyed) return;
    const timer = setTimeout(() => session.destroy(), silentMs);
    const alive = () => clearTimeout(timer);
    session.once("close", alive);
    session.ping((error) => {
      session.off("close", alive);
      alive();
      if (error && !session.destroyed) session.destroy();
    });
  });
}
