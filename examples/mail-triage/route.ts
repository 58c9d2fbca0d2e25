import type { Verdict } from "./classifier.ts";
import type { Entities, LanguageFeatures } from "./features.ts";
import type { ParsedMail } from "./parse.ts";

export type Unit = "quarantine" | "engineering" | "support" | "sales" | "finance" | "hr" | "legal" | "office";

/** Where a mail goes, and the rules that sent it there. */
export interface Routing {
  readonly unit: Unit;
  readonly urgent: boolean;
  /** Names of the rules that spoke for the unit, strongest first. */
  readonly reasons: readonly string[];
}

export interface RouteFacts {
  readonly mail: ParsedMail;
  readonly features: LanguageFeatures;
  readonly entities: Entities;
  readonly verdict: Verdict;
}

interface Rule {
  readonly name: string;
  readonly unit: Unit;
  readonly points: number;
  readonly applies: (facts: RouteFacts, text: string) => boolean;
}

const says =
  (pattern: RegExp): Rule["applies"] =>
  (_, text) =>
    pattern.test(text);

/** Chars of the body that the keyword rules read: what a mail is about stands at its top. */
const READ_MAX = 2_000;

const RULES: readonly Rule[] = [
  {
    name: "technical list",
    unit: "engineering",
    points: 3,
    applies: ({ mail }) => /dev|exmh|razor|spamassassin|ilug|rpm|perl|linux|worker/.test(mail.list ?? ""),
  },
  {
    name: "code words",
    unit: "engineering",
    points: 2,
    applies: says(
      /\b(patch|cvs|segfault|stack trace|compil(?:e|er|ing)|makefile|kernel|commit(?:ted)?|regexp?|source code|repository|libc|gcc)\b/,
    ),
  },
  {
    name: "bug number",
    unit: "engineering",
    points: 3,
    applies: ({ entities }) => entities.references.some((each) => /^(?:bug|issue) /.test(each)),
  },
  {
    name: "asks for help",
    unit: "support",
    points: 2,
    applies: says(
      /\b(how (?:do|can) i|doesn't work|does not work|not working|can ?not|can't get|problem with|error message|help me|any ideas?|troubleshoot)\b/,
    ),
  },
  {
    name: "ticket number",
    unit: "support",
    points: 3,
    applies: ({ entities }) => entities.references.some((each) => /^(?:ticket|case|ref)/.test(each)),
  },
  {
    name: "unhappy question",
    unit: "support",
    points: 1,
    applies: ({ features }) => features.sentiment < -0.1 && features.questions > 0,
  },
  {
    name: "offer or order",
    unit: "sales",
    points: 2,
    applies: says(
      /\b(quote|quotation|pricing|price list|purchase|buy(?:ing)?|demo|discount|upgrade|subscription|offer)\b/,
    ),
  },
  {
    name: "order number",
    unit: "sales",
    points: 3,
    applies: ({ entities }) => entities.references.some((each) => each.startsWith("order ")),
  },
  {
    name: "money words",
    unit: "finance",
    points: 2,
    applies: says(/\b(invoice|payment|refund|bank|budget|tax(?:es)?|accounting|expenses?|credit card|loan)\b/),
  },
  { name: "sums of money", unit: "finance", points: 1, applies: ({ entities }) => entities.money.length >= 2 },
  {
    name: "invoice number",
    unit: "finance",
    points: 3,
    applies: ({ entities }) => entities.references.some((each) => each.startsWith("invoice ")),
  },
  {
    name: "people words",
    unit: "hr",
    points: 2,
    applies: says(
      /\b(resume|cv|curriculum vitae|job|vacanc(?:y|ies)|hiring|salary|interview|candidate|recruit\w*|employment)\b/,
    ),
  },
  {
    name: "legal words",
    unit: "legal",
    points: 2,
    applies: says(
      /\b(lawsuit|patent|copyright|licen[cs]e agreement|contract|attorney|lawyer|court|dmca|liability|nda)\b/,
    ),
  },
];

const ORDER: readonly Unit[] = ["engineering", "support", "sales", "finance", "hr", "legal"];
const URGENT = /\b(urgent|asap|immediately|right away|deadline|emergency|outage|security (?:hole|advisory|alert))\b/;

/** Spam goes to quarantine; everything else to the unit with the most points, the earlier in `ORDER` on a tie. */
export function route(facts: RouteFacts): Routing {
  const { mail, verdict } = facts;
  if (verdict.label === "spam") return { unit: "quarantine", urgent: false, reasons: [`spam score ${verdict.score}`] };
  const text = `${mail.subject}\n${mail.text.slice(0, READ_MAX)}`.toLowerCase();
  const spoken = RULES.filter((rule) => rule.applies(facts, text));
  const points = (unit: Unit) => spoken.reduce((sum, rule) => sum + (rule.unit === unit ? rule.points : 0), 0);
  const best = ORDER.reduce<Unit>((top, unit) => (points(unit) > points(top) ? unit : top), "office");
  const reasons = spoken.filter((rule) => rule.unit === best).sort((a, b) => b.points - a.points);
  return {
    unit: best,
    urgent: URGENT.test(text),
    reasons: reasons.length > 0 ? reasons.map((rule) => rule.name) : ["no rule spoke"],
  };
}
