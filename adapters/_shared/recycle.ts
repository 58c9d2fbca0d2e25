/** Ends HTTP/2 connections without breaking calls: when the server stops, and when a connection has worn out. */
import { constants, type Http2Session, type Http2Stream } from "node:http2";

/** For `maxSessionMemory`, in megabytes: several of the largest messages at once, both ways. */
export const sessionMegabytesMax = 256;
const abandonedBytesMax = (sessionMegabytesMax / 2) * 1_000_000;
/** The highest stream id: the streams that a client opens until it has read the GOAWAY are still served. */
const lastStreamId = 2 ** 31 - 1;
/** Longer than such streams take to arrive. */
const noticeMs = 100;

/**
 * Shuts a connection down in two steps (RFC 9113, section 6.8): first the client is told to open no more streams here,
 * and only then are further ones refused. The connection ends with its last stream.
 */
export function retire(session: Http2Session): void {
  if (session.closed || session.destroyed) return;
  session.goaway(constants.NGHTTP2_NO_ERROR, lastStreamId);
  const timer = setTimeout(() => {
    if (!session.destroyed) session.close();
  }, noticeMs);
  session.once("close", () => clearTimeout(timer));
}

const abandoned = new WeakMap<Http2Session, number>();

/**
 * Node counts what a cancelled stream had not sent yet into its connection's memory for ever (seen on 24.21: ten streams
 * cancelled with 1 MiB each unsent, and the connection refuses every later one with ENHANCE_YOUR_CALM). So `wornOut` is
 * called once for a connection that has lost much this way.
 */
export function recycle(session: Http2Session, stream: Http2Stream, wornOut: () => void): void {
  stream.once("close", () => {
    if (stream.writableLength === 0) return;
    const before = abandoned.get(session) ?? 0;
    const after = before + stream.writableLength;
    abandoned.set(session, after);
    if (before <= abandonedBytesMax && after > abandonedBytesMax) wornOut();
  });
}
