import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { draftWithModel, llmSettings, workerLlm } from "../llm.ts";
import { factsOf } from "./mails.ts";

describe("llm settings", () => {
  it("names the missing variable, never an ambient key", () => {
    expect(() => llmSettings("m", { OPENAI_API_KEY: "k" })).toThrow("--llm: set MAIL_TRIAGE_LLM_URL");
    expect(() => llmSettings("m", { MAIL_TRIAGE_LLM_URL: "http://x" })).toThrow("--llm: set MAIL_TRIAGE_LLM_KEY");
    expect(() => llmSettings("m", { MAIL_TRIAGE_LLM_URL: "secret", MAIL_TRIAGE_LLM_KEY: "k" })).toThrow("is not a URL");
    expect(workerLlm({ MAIL_TRIAGE_LLM_URL: "http://x", MAIL_TRIAGE_LLM_KEY: "k" })).toBeUndefined();
  });
});

describe("draftWithModel", () => {
  const requests: { authorization: string | undefined; body: { model: string; messages: { content: unknown }[] } }[] =
    [];
  let server: Server;

  beforeAll(async () => {
    // A real service of the protocol, as small as it can be: the SDK talks HTTP to it.
    server = createServer(async (request: IncomingMessage, response) => {
      const body = JSON.parse(await text(request));
      requests.push({ authorization: request.headers.authorization, body });
      response.setHeader("content-type", "application/json");
      const message = { role: "assistant", content: " Dear Ann, we look into it. " };
      const usage = { prompt_tokens: 9, completion_tokens: 7, total_tokens: 16 };
      response.end(
        JSON.stringify({
          id: "1",
          created: 1,
          model: body.model,
          choices: [{ index: 0, message, finish_reason: "stop" }],
          usage,
        }),
      );
    }).listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
  });
  afterAll(() => server.close());

  it("sends the mail to the service and takes its text as the body", async () => {
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
    const settings = llmSettings("some-model", { MAIL_TRIAGE_LLM_URL: url, MAIL_TRIAGE_LLM_KEY: "k-1" });
    const facts = {
      ...factsOf({ subject: "Printer", text: "It is broken." }),
      route: { unit: "support", urgent: true, reasons: [] } as const,
    };
    const draft = await draftWithModel(facts, settings, new AbortController().signal);
    expect(draft).toEqual({
      to: "ann@example.org",
      subject: "Re: Printer",
      body: "Dear Ann, we look into it.",
      author: "some-model",
    });
    expect(requests).toHaveLength(1);
    expect(requests[0]!.authorization).toBe("Bearer k-1");
    expect(requests[0]!.body.model).toBe("some-model");
    expect(JSON.stringify(requests[0]!.body.messages)).toContain("It is broken.");
  });

  it("stops when the run is cancelled", async () => {
    const settings = { model: "m", url: "http://127.0.0.1:9/v1", key: "k" };
    const facts = { ...factsOf({}), route: { unit: "office", urgent: false, reasons: [] } as const };
    await expect(draftWithModel(facts, settings, AbortSignal.abort(new Error("cancelled")))).rejects.toThrow();
  });
});
