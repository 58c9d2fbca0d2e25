/** The readable text of an HTML body and the addresses its links and images point to. */
export interface HtmlText {
  readonly text: string;
  readonly links: string[];
}

const LINKS_MAX = 100;
const HIDDEN = new Set(["script", "style", "head", "title", "noscript", "template"]);
const BLOCKS = new Set(
  "p div br tr li ul ol table h1 h2 h3 h4 h5 h6 hr center blockquote pre section article form dd dt dl".split(" "),
);
const NAMED: Record<string, string> = {
  amp: "&",
  lt: "<",
  gt: ">",
  quot: '"',
  apos: "'",
  nbsp: " ",
  copy: "©",
  reg: "®",
  trade: "™",
  hellip: "…",
  mdash: "—",
  ndash: "–",
  lsquo: "‘",
  rsquo: "’",
  ldquo: "“",
  rdquo: "”",
  bull: "•",
  middot: "·",
  euro: "€",
  pound: "£",
  cent: "¢",
  yen: "¥",
  eacute: "é",
  egrave: "è",
  agrave: "à",
  ccedil: "ç",
  ntilde: "ñ",
  auml: "ä",
  ouml: "ö",
  uuml: "ü",
  szlig: "ß",
};

/**
 * HTML to text in one pass. Mail HTML is rarely well formed, so there is no tree: an unclosed tag ends at the end of the
 * body, an unclosed script hides the rest, and the work is linear in the input whatever the input is.
 */
export function htmlToText(html: string): HtmlText {
  const body: Body = { html, parts: [], links: [], unclosed: new Set() };
  let at = 0;
  while (at < html.length) {
    const open = html.indexOf("<", at);
    body.parts.push(html.slice(at, open < 0 ? html.length : open));
    at = open < 0 ? html.length : skipMarkup(body, open);
  }
  return { text: tidy(decodeEntities(body.parts.join(""))), links: body.links };
}

interface Body {
  readonly html: string;
  readonly parts: string[];
  readonly links: string[];
  /** Tags known to have no end tag any more: looked for once, not once an occurrence. */
  readonly unclosed: Set<string>;
}

/** Handles the markup that begins at `open` and returns where the text goes on. */
function skipMarkup(body: Body, open: number): number {
  const { html, parts } = body;
  if (html.startsWith("<!--", open)) return after(html, "-->", open + 4);
  const name = /^<[/!?]?([a-z][a-z0-9]*)?/i.exec(html.slice(open, open + 20));
  if (name?.[1] === undefined && !/^<[/!?]/.test(html.slice(open, open + 2))) {
    parts.push("<");
    return open + 1;
  }
  const end = after(html, ">", open + 1);
  const tag = (name?.[1] ?? "").toLowerCase();
  if (BLOCKS.has(tag)) parts.push("\n");
  else if (tag === "td" || tag === "th") parts.push(" ");
  if (tag === "a" || tag === "img" || tag === "form" || tag === "area") noteLink(html.slice(open, end), body.links);
  return HIDDEN.has(tag) && html[open + 1] !== "/" ? closing(body, tag, end) : end;
}

function closing({ html, unclosed }: Body, tag: string, from: number): number {
  const close = new RegExp(`</${tag}\\b`, "gi");
  close.lastIndex = from;
  const found = unclosed.has(tag) ? null : close.exec(html);
  if (found !== null) return after(html, ">", found.index);
  unclosed.add(tag);
  // A head or title that is never closed hides nothing: half of the spam would vanish with it.
  return tag === "script" || tag === "style" ? html.length : from;
}

function after(html: string, mark: string, from: number): number {
  const found = html.indexOf(mark, from);
  return found < 0 ? html.length : found + mark.length;
}

function noteLink(tag: string, links: string[]): void {
  if (links.length >= LINKS_MAX) return;
  const match = /\b(?:href|src|action)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]+))/i.exec(tag);
  const link = (match?.[1] ?? match?.[2] ?? match?.[3])?.trim();
  if (link !== undefined && /^(?:https?|mailto):/i.test(link)) links.push(decodeEntities(link));
}

export function decodeEntities(text: string): string {
  return text.replace(/&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|([a-z]{2,8}));?/gi, (whole, decimal, hex, name) => {
    if (name !== undefined) return NAMED[name.toLowerCase()] ?? whole;
    const point = decimal !== undefined ? Number.parseInt(decimal, 10) : Number.parseInt(hex, 16);
    return point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff) || point === 0
      ? "\ufffd"
      : String.fromCodePoint(point);
  });
}

function tidy(text: string): string {
  return text
    .replace(/[^\S\n]+/g, " ")
    .replace(/ ?\n ?/g, "\n")
    .replace(/\n{3,}/g, "\n\n")
    .trim();
}
