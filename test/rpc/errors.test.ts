import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, it } from "vitest";
import { AgentmaticError, type ErrorCode, errorCodes } from "../../src/errors.ts";
import { abortError, fromConnectError, toConnectError } from "../../src/rpc/errors.ts";

describe("what a server answers", () => {
  it.each(Object.entries(errorCodes))("%s has its status of the table, and no cause", (code, { connect }) => {
    const sent = toConnectError(
      new AgentmaticError(code as ErrorCode, "what happened", { cause: new Error("secret") }),
    );
    expect(sent.code).toBe(connect);
    expect(sent.rawMessage).toBe("what happened");
    expect(sent.cause).toBeUndefined();
  });

  it("keeps the transport's own errors, and tells nothing of others", () => {
    const canceled = new ConnectError("canceled", Code.Canceled);
    expect(toConnectError(canceled)).toBe(canceled);
    expect(toConnectError(new TypeError("state: 4711")).rawMessage).toBe("internal error");
    expect(toConnectError("state: 4711").rawMessage).toBe("internal error");
  });

  it("leaves out details that do not fit into a header", () => {
    const error = new AgentmaticError("NotFound", "m", { details: { long: "x".repeat(5000) } });
    expect(toConnectError(error).metadata.get("agentmatic-error-details")).toBeNull();
  });
});

describe("what a client throws", () => {
  it.each([
    ["a refused connection", Code.Unavailable, "Unavailable"],
    ["a stream that was reset", Code.Aborted, "Unavailable"],
    ["a missing trailer", Code.Internal, "Unavailable"],
    ["a proxy's 502", Code.Unknown, "Unavailable"],
    ["a server without this service", Code.Unimplemented, "Unsupported"],
    ["a deadline", Code.DeadlineExceeded, "DeadlineExceeded"],
    ["a message that is too large", Code.ResourceExhausted, "ResourceExhausted"],
    ["a gateway's refusal", Code.Unauthenticated, "Unauthenticated"],
  ])("%s without a code of ours", (_name, code, expected) => {
    expect(fromConnectError(new ConnectError("m", code))).toMatchObject({ code: expected, message: "m" });
  });

  it("a code that it does not know is taken by its status", () => {
    const sent = new ConnectError("m", Code.NotFound, {
      "agentmatic-error-details": "%",
      "agentmatic-retry-after-ms": "x",
    });
    expect(fromConnectError(sent)).toMatchObject({ code: "NotFound", details: {}, retryAfterMs: undefined });
  });

  it("details are facts only: other values are dropped", () => {
    const text = encodeURIComponent(JSON.stringify({ field: "a", n: 1, deep: { x: 1 }, list: [1], nothing: null }));
    const sent = new ConnectError("m", Code.NotFound, { "agentmatic-error-details": text });
    expect(fromConnectError(sent).details).toEqual({ field: "a", n: 1 });
  });

  it("the caller's own abort is the reason of whatever came after", () => {
    const late = AbortSignal.abort(new DOMException("late", "TimeoutError"));
    const own = new AgentmaticError("FencedOut", "a newer owner");
    const noise = new ConnectError("reset", Code.Aborted);
    expect(fromConnectError(noise, late).code).toBe("DeadlineExceeded");
    expect(fromConnectError(noise, AbortSignal.abort()).code).toBe("Cancelled");
    expect(fromConnectError(noise, AbortSignal.abort(own))).toBe(own);
    expect(abortError(new ConnectError("late", Code.DeadlineExceeded)).code).toBe("DeadlineExceeded");
  });

  it("a fault of this process stays one", () => {
    expect(fromConnectError(new TypeError("x is not a function")).code).toBe("Internal");
  });
});
