import { describe, expect, it } from "vitest";
import { draftAnswer } from "../draft.ts";
import { route } from "../route.ts";
import { factsOf } from "./mails.ts";

describe("route", () => {
  it("sends spam to quarantine, whatever it talks about", () => {
    const facts = {
      ...factsOf({ text: "invoice payment" }),
      verdict: { label: "spam", score: 9, confidence: 0.9 } as const,
    };
    expect(route(facts)).toEqual({ unit: "quarantine", urgent: false, reasons: ["spam score 9"] });
  });

  it.each([
    ["engineering", { text: "This patch makes the kernel segfault." }, {}],
    ["support", { text: "The printer is not working, any ideas?" }, { references: ["ticket 100"] }],
    ["sales", { text: "Please send a quote." }, { references: ["order 5512"] }],
    ["finance", { text: "The payment is late." }, { references: ["invoice 4711"], money: ["$5", "$6"] }],
    ["hr", { text: "My resume for the job is attached." }, {}],
    ["legal", { text: "Our attorney says this is a copyright matter." }, {}],
    ["office", { text: "See you at lunch." }, {}],
  ] as const)("%s", (unit, mail, entities) => {
    const copy = Object.fromEntries(Object.entries(entities).map(([name, list]) => [name, [...list]]));
    expect(route(factsOf(mail, copy)).unit).toBe(unit);
  });

  it("names the rules that decided, and urgency", () => {
    const routing = route(factsOf({ subject: "URGENT", text: "invoice" }, { references: ["invoice 1234"] }));
    expect(routing).toEqual({ unit: "finance", urgent: true, reasons: ["invoice number", "money words"] });
    expect(route(factsOf({ text: "hi" })).reasons).toEqual(["no rule spoke"]);
  });
});

describe("draftAnswer", () => {
  const facts = factsOf(
    {
      subject: "Re: RE: late payment",
      list: "desk.example.org",
      attachments: [{ name: "a.pdf", type: "application/pdf", bytes: 9 }],
    },
    { references: ["invoice 4711"], money: ["$1", "$2", "$3", "$4"] },
  );

  it("answers with what was read in the mail", () => {
    const draft = draftAnswer({ ...facts, route: { unit: "finance", urgent: true, reasons: [] } });
    expect(draft).toEqual({
      to: "ann@example.org",
      subject: "Re: late payment",
      author: "template",
      body: [
        "Dear Ann Example,",
        "Thank you; our accounts team has your message. We received it on 2002-08-22, through desk.example.org.",
        "What we noted:\n- You refer to: invoice 4711\n- Sums you name: $1, $2, $3 and 1 more\n- You attached: a.pdf",
        "We will answer within three working days. We have marked it as urgent.",
        "Kind regards,\nthe triage desk",
      ].join("\n\n"),
    });
  });

  it("is sorry where the mail is unhappy, and greets by address where there is no name", () => {
    const { mail } = factsOf({ from: { name: "", address: "bob@example.org" }, subject: "", date: null });
    const features = { ...facts.features, sentiment: -0.5 };
    const draft = draftAnswer({ ...facts, mail, features, route: { unit: "support", urgent: false, reasons: [] } });
    expect(draft.subject).toBe("Re: your message");
    expect(draft.body).toMatch(/^Dear bob,/);
    expect(draft.body).toContain("We are sorry");
  });
});
