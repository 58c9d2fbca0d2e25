import { isUtf8 } from "node:buffer";
import PostalMime, { type Address, type Email } from "postal-mime";
import { htmlToText } from "./html.ts";

/** A mail as the later nodes see it. Everything in it is bounded, so that a checkpoint stays small. */
export interface ParsedMail {
  readonly from: { readonly name: string; readonly address: string };
  readonly to: readonly string[];
  readonly subject: string;
  /** ISO 8601, or null when the mail names no date that can be read. */
  readonly date: string | null;
  /** The mailing list it came through, or null. */
  readonly list: string | null;
  readonly reply: boolean;
  /** The readable text: of the plain part, else of the HTML part. At most `TEXT_MAX` chars. */
  readonly text: string;
  readonly links: readonly string[];
  readonly htmlOnly: boolean;
  /** Listed, never opened. */
  readonly attachments: readonly Attached[];
  /** What was wrong with the mail, in words. Most spam of the corpus has some. */
  readonly defects: readonly string[];
}

export interface Attached {
  readonly name: string;
  readonly type: string;
  readonly bytes: number;
}

export const RAW_MAX: number = 256 * 1024;
export const TEXT_MAX: number = 8_000;
const HTML_MAX = 64 * 1024;
const FIELD_MAX = 300;
const LIST_MAX = 20;
const NESTING_MAX = 20;
const HEADERS_MAX = 64 * 1024;

/**
 * Reads one mail from its bytes (a string of one char a byte). Never throws: what MIME cannot read is taken as plain
 * text, and the defects say so.
 */
export async function parseMail(raw: string): Promise<ParsedMail> {
  const defects: string[] = [];
  const bytes = inUtf8(withoutEnvelope(raw.length > RAW_MAX ? raw.slice(0, RAW_MAX) : raw), defects);
  if (raw.length > RAW_MAX) defects.push(`cut to ${RAW_MAX} bytes`);
  const mail = await readMime(bytes, defects);
  const body = readBody(mail, defects);
  const header = (name: string) => mail.headers.find((each) => each.key === name)?.value;
  if (mail.from === undefined) defects.push("no sender");
  if (mail.subject === undefined) defects.push("no subject");
  return {
    from: firstMailbox(mail.from),
    to: (mail.to ?? []).slice(0, LIST_MAX).map((each) => cut(firstMailbox(each).address)),
    subject: cut(mail.subject ?? ""),
    date: readDate(mail.date, defects),
    list: listName(header("list-id") ?? header("x-mailing-list") ?? header("mailing-list")),
    reply: mail.inReplyTo !== undefined || /^\s*re\s*:/i.test(mail.subject ?? ""),
    ...body,
    attachments: attachments(mail),
    defects,
  };
}

/** Mail folders put a line `From sender date` before each mail; it is no header. */
function withoutEnvelope(raw: string): string {
  return raw.startsWith("From ") ? raw.slice(raw.indexOf("\n") + 1) : raw;
}

/** Mail that names no charset is UTF-8 if it can be, else what mailers of its time sent: windows-1252. */
function inUtf8(raw: string, defects: string[]): Uint8Array {
  const bytes = Buffer.from(raw, "latin1");
  if (isUtf8(bytes) || /charset\s*=/i.test(raw)) return bytes;
  defects.push("no charset");
  return Buffer.from(new TextDecoder("windows-1252").decode(bytes), "utf8");
}

async function readMime(bytes: Uint8Array, defects: string[]): Promise<Email> {
  try {
    return await PostalMime.parse(bytes, { maxNestingDepth: NESTING_MAX, maxHeadersSize: HEADERS_MAX });
  } catch (error) {
    defects.push(`MIME unreadable: ${cut(error instanceof Error ? error.message : String(error))}`);
    return { headers: [], headerLines: [], attachments: [], text: new TextDecoder().decode(bytes) };
  }
}

function readBody(mail: Email, defects: string[]): Pick<ParsedMail, "text" | "links" | "htmlOnly"> {
  const plain = mail.text?.trim() ?? "";
  const html = mail.html === undefined ? undefined : htmlToText(mail.html.slice(0, HTML_MAX));
  // Some senders label HTML as plain text.
  const mislabelled = html === undefined && /^\s*<(?:!doctype|html|head|body|table|center|font)\b/i.test(plain);
  const read = mislabelled ? htmlToText(plain.slice(0, HTML_MAX)) : html;
  if (mislabelled) defects.push("HTML labelled as plain text");
  const htmlOnly = mislabelled || (plain === "" && read !== undefined);
  const text = htmlOnly ? (read?.text ?? "") : plain;
  if (text === "") defects.push("no text");
  return { text: text.slice(0, TEXT_MAX), links: (read?.links ?? []).slice(0, LIST_MAX).map(cut), htmlOnly };
}

function firstMailbox(address: Address | undefined): { name: string; address: string } {
  const box = address?.group === undefined ? address : address.group[0];
  return { name: cut(box?.name ?? address?.name ?? ""), address: cut(box?.address ?? "").toLowerCase() };
}

function readDate(date: string | undefined, defects: string[]): string | null {
  const time = date === undefined ? Number.NaN : Date.parse(date);
  if (!Number.isNaN(time)) return new Date(time).toISOString();
  defects.push(date === undefined ? "no date" : "unreadable date");
  return null;
}

function listName(value: string | undefined): string | null {
  if (value === undefined) return null;
  return cut(/<([^>]+)>/.exec(value)?.[1] ?? /[\w.+-]+@[\w.-]+/.exec(value)?.[0] ?? value.trim());
}

function attachments(mail: Email): Attached[] {
  return mail.attachments.slice(0, LIST_MAX).map((each) => ({
    name: cut(each.filename ?? ""),
    type: cut(each.mimeType),
    bytes: typeof each.content === "string" ? each.content.length : each.content.byteLength,
  }));
}

function cut(text: string): string {
  return text.length > FIELD_MAX ? text.slice(0, FIELD_MAX) : text;
}
