import type { Entities, LanguageFeatures } from "../features.ts";
import type { ParsedMail } from "../parse.ts";
import type { RouteFacts } from "../route.ts";

/** A mail with nothing in it but what the test names. */
export function mailWith(parts: Partial<ParsedMail> = {}): ParsedMail {
  return {
    from: { name: "Ann Example", address: "ann@example.org" },
    to: ["desk@example.org"],
    subject: "Hello",
    date: "2002-08-22T11:26:25.000Z",
    list: null,
    reply: false,
    text: "Hello there.",
    links: [],
    htmlOnly: false,
    attachments: [],
    defects: [],
    ...parts,
  };
}

export const plainFeatures: LanguageFeatures = {
  words: 100,
  sentences: 6,
  readingEase: 60,
  sentiment: 0,
  shouting: 0,
  questions: 0,
  exclamations: 0,
  stopWords: 0.4,
  english: true,
};

export const noEntities: Entities = {
  dates: [],
  times: [],
  money: [],
  percents: [],
  emails: [],
  urls: [],
  phones: [],
  references: [],
};

export function factsOf(mail: Partial<ParsedMail>, entities: Partial<Entities> = {}): RouteFacts {
  return {
    mail: mailWith(mail),
    features: plainFeatures,
    entities: { ...noEntities, ...entities },
    verdict: { label: "ham", score: -12, confidence: 0.9 },
  };
}
