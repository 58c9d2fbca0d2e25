import { describe, expect, it } from "vitest";
import { openCorpus } from "../corpus.ts";
import { ANALYSED_MAX, languageFeatures, namedEntities } from "../features.ts";
import { parseMail } from "../parse.ts";
import { mailWith } from "./mails.ts";

describe("languageFeatures", () => {
  it("counts words and sentences and tells moods apart", () => {
    const happy = languageFeatures(
      mailWith({ subject: "Thanks", text: "I love it. This is wonderful and I am happy!" }),
    );
    const angry = languageFeatures(
      mailWith({ subject: "Why", text: "This is terrible. I hate the awful delay. Why?" }),
    );
    expect(happy).toMatchObject({ words: 11, sentences: 3, english: true });
    expect(happy.sentiment).toBeGreaterThan(0.1);
    expect(angry.sentiment).toBeLessThan(-0.1);
    expect(angry.questions).toBeGreaterThan(0);
    expect(happy.exclamations).toBeGreaterThan(0);
  });

  it("knows shouting and other languages", () => {
    const text =
      "Lieber Herr Meier, wir freuen uns sehr über Ihre Nachricht und werden uns bald wieder melden, sobald wir mehr wissen und alles geklärt haben.";
    expect(languageFeatures(mailWith({ subject: "Antwort", text })).english).toBe(false);
    expect(languageFeatures(mailWith({ subject: "MONEY", text: "MAKE MONEY FAST today" })).shouting).toBeGreaterThan(
      0.7,
    );
  });

  it("bears empty mail", () => {
    expect(languageFeatures(mailWith({ subject: "", text: "" }))).toMatchObject({
      words: 0,
      shouting: 0,
      readingEase: 0,
    });
  });
});

describe("namedEntities", () => {
  it("finds dates, money, addresses, phones and references", () => {
    const found = namedEntities(
      mailWith({
        subject: "Invoice #4711",
        text: "Order no. 123456 of 22nd August 2002 cost $29.99. Call (555) 123-4567 or write to bill@example.com. See bug 99812. See bug 99812.",
        links: ["http://shop.example/pay"],
      }),
    );
    expect(found.references).toEqual(["invoice 4711", "order 123456", "bug 99812"]);
    expect(found.money).toContain("$29.99");
    expect(found.emails).toContain("bill@example.com");
    expect(found.phones).toEqual(["(555) 123-4567"]);
    expect(found.urls).toContain("http://shop.example/pay");
    expect(found.dates.join()).toContain("August 2002");
  });

  it("bounds every list", () => {
    const text = Array.from({ length: 100 }, (_, i) => `bug ${1000 + i}`).join(", ");
    expect(namedEntities(mailWith({ text })).references).toHaveLength(20);
  });
});

describe("cost", () => {
  it("stays far under 15 ms of processor time a mail", async () => {
    const corpus = openCorpus();
    const mails = await Promise.all(
      Array.from({ length: 60 }, (_, i) => parseMail(corpus.read((i * 101) % corpus.size))),
    );
    languageFeatures(mails[0]!);
    namedEntities(mails[0]!);
    const before = process.cpuUsage();
    for (const mail of mails) {
      languageFeatures(mail);
      namedEntities(mail);
    }
    const { user, system } = process.cpuUsage(before);
    expect((user + system) / 1000 / mails.length).toBeLessThan(15);
    expect(ANALYSED_MAX).toBeLessThanOrEqual(4000);
  });

  it("says the same of the same mail", async () => {
    const mail = await parseMail(openCorpus().read(4200));
    expect(languageFeatures(mail)).toEqual(languageFeatures(mail));
    expect(namedEntities(mail)).toEqual(namedEntities(mail));
  });
});
