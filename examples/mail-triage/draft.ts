import type { Entities, LanguageFeatures } from "./features.ts";
import type { ParsedMail } from "./parse.ts";
import type { Routing, Unit } from "./route.ts";

export interface Draft {
  readonly to: string;
  readonly subject: string;
  readonly body: string;
  /** `template`, or the name of the model that wrote the body. */
  readonly author: string;
}

export interface DraftFacts {
  readonly mail: ParsedMail;
  readonly features: LanguageFeatures;
  readonly entities: Entities;
  readonly route: Routing;
}

const SUBJECT_MAX = 200;
const NAMED_MAX = 3;

const OPENINGS: Record<Unit, string> = {
  quarantine: "Your message was held back.",
  engineering: "Thank you for writing to our engineers.",
  support: "Thank you for telling us about this; we are looking into it.",
  sales: "Thank you for your interest.",
  finance: "Thank you; our accounts team has your message.",
  hr: "Thank you for contacting our people team.",
  legal: "We confirm receipt. Our legal team will answer in writing.",
  office: "Thank you for your message.",
};

const PROMISES: Record<Unit, string> = {
  quarantine: "",
  engineering: "Someone who knows the code will answer on the list",
  support: "You will hear from us within one working day",
  sales: "A colleague will send you an offer within two working days",
  finance: "We will answer within three working days",
  hr: "We will come back to you within a week",
  legal: "Please allow ten working days",
  office: "We have passed it on to the right colleague",
};

/** An answer made of what was read in the mail: the same mail gives the same answer, char by char. */
export function draftAnswer(facts: DraftFacts): Draft {
  return { ...addressed(facts), body: paragraphs(facts).join("\n\n"), author: "template" };
}

/** The envelope of an answer, whoever writes its body. */
export function addressed({ mail }: DraftFacts): Pick<Draft, "to" | "subject"> {
  const subject = mail.subject
    .replace(/^\s*(?:re\s*:\s*)+/i, "")
    .slice(0, SUBJECT_MAX)
    .trim();
  return { to: mail.from.address, subject: `Re: ${subject === "" ? "your message" : subject}` };
}

function paragraphs(facts: DraftFacts): string[] {
  const { mail, features, route } = facts;
  const sorry = features.sentiment < -0.1 ? " We are sorry that this gave you trouble." : "";
  const soon = route.urgent ? " We have marked it as urgent." : "";
  const list = mail.list === null ? "" : `, through ${mail.list}`;
  return [
    `Dear ${greeted(mail)},`,
    `${OPENINGS[route.unit]}${sorry} We received it${mail.date === null ? "" : ` on ${mail.date.slice(0, 10)}`}${list}.`,
    ...understood(facts),
    `${PROMISES[route.unit]}.${soon}`,
    "Kind regards,\nthe triage desk",
  ].filter((paragraph) => paragraph !== "");
}

function greeted(mail: ParsedMail): string {
  const name = mail.from.name.replace(/["<>\r\n]/g, "").trim();
  return name === "" ? mail.from.address.split("@")[0] || "sender" : name;
}

function understood({ mail, entities }: DraftFacts): string[] {
  const lines = [
    named("You refer to", entities.references),
    named("Sums you name", entities.money),
    named("Dates you name", entities.dates),
    named("You can be reached at", entities.phones),
    named(
      "You attached",
      mail.attachments.map((each) => each.name || each.type),
    ),
  ].filter((line) => line !== "");
  return lines.length === 0 ? [] : [`What we noted:\n${lines.join("\n")}`];
}

function named(label: string, values: readonly string[]): string {
  if (values.length === 0) return "";
  const shown = values.slice(0, NAMED_MAX).map((value) => value.replace(/\s+/g, " "));
  const more = values.length > NAMED_MAX ? ` and ${values.length - NAMED_MAX} more` : "";
  return `- ${label}: ${shown.join(", ")}${more}`;
}
