import { describe, expect, it } from "vitest";
import { openCorpus } from "../corpus.ts";
import { decodeEntities, htmlToText } from "../html.ts";
import { parseMail, RAW_MAX, TEXT_MAX } from "../parse.ts";

const mail = (...lines: string[]) => lines.join("\r\n");

describe("parseMail", () => {
  it("unfolds headers and decodes their words", async () => {
    const parsed = await parseMail(
      mail(
        "From bounce@example.org  Thu Aug 22 12:36:23 2002",
        "From: =?iso-8859-1?Q?J=FCrgen_M=FCller?= <Juergen@Example.org>",
        "To: a@example.org, B <b@example.org>",
        "Subject: =?utf-8?B?R3LDvMOfZSBhdXM=?=",
        " =?utf-8?Q?_K=C3=B6ln?= today",
        "Date: Thu, 22 Aug 2002 18:26:25 +0700",
        "In-Reply-To: <1@example.org>",
        "List-Id: Workers <workers.example.org>",
        "",
        "Hi",
      ),
    );
    expect(parsed).toEqual({
      from: { name: "Jürgen Müller", address: "juergen@example.org" },
      to: ["a@example.org", "b@example.org"],
      subject: "Grüße aus Köln today",
      date: "2002-08-22T11:26:25.000Z",
      list: "workers.example.org",
      reply: true,
      text: "Hi",
      links: [],
      htmlOnly: false,
      attachments: [],
      defects: [],
    });
  });

  it("decodes quoted-printable and base64 by the part's charset, and lists attachments", async () => {
    const parsed = await parseMail(
      mail(
        "From: a@example.org",
        "Subject: parts",
        "Date: Thu, 22 Aug 2002 11:26:25 +0000",
        'Content-Type: multipart/mixed; boundary="b1"',
        "",
        "--b1",
        "Content-Type: text/plain; charset=iso-8859-15",
        "Content-Transfer-Encoding: quoted-printable",
        "",
        "caf=E9 =A4 5, a long=",
        "er line",
        "--b1",
        "Content-Type: text/plain; charset=koi8-r",
        "Content-Transfer-Encoding: base64",
        "",
        "8NLJ18XU",
        "--b1",
        'Content-Type: application/x-msdownload; name="run.exe"',
        "Content-Transfer-Encoding: base64",
        "Content-Disposition: attachment",
        "",
        "TVqQAAMA",
        "--b1--",
      ),
    );
    expect(parsed.text).toContain("café € 5, a longer line");
    expect(parsed.text).toContain("Привет");
    expect(parsed.attachments).toEqual([{ name: "run.exe", type: "application/x-msdownload", bytes: 6 }]);
  });

  it("takes 8-bit text without a charset as windows-1252, unless it is UTF-8", async () => {
    const old = await parseMail(mail("From: a@example.org", "Subject: x", "", "caf\xe9 \x80"));
    const utf8 = await parseMail(mail("From: a@example.org", "Subject: x", "", "caf\xc3\xa9"));
    expect([old.text, utf8.text]).toEqual(["café €", "café"]);
    expect([old.defects.includes("no charset"), utf8.defects.includes("no charset")]).toEqual([true, false]);
  });

  it("reads HTML where there is no plain text, also where it is labelled as plain", async () => {
    const html = '<html><body><p>Buy&nbsp;now</p><a href="http://shop.example/x">here</a></body></html>';
    const honest = await parseMail(mail("From: a@example.org", "Subject: x", "Content-Type: text/html", "", html));
    const mislabelled = await parseMail(mail("From: a@example.org", "Subject: x", "", html));
    for (const parsed of [honest, mislabelled]) {
      expect(parsed).toMatchObject({ text: "Buy now\nhere", links: ["http://shop.example/x"], htmlOnly: true });
    }
    expect(mislabelled.defects).toContain("HTML labelled as plain text");
  });

  it("says what is missing, and never throws", async () => {
    const rubbish = ["", "\0\0\0", "no header at all", ": :\n\n", "Content-Type: multipart/mixed; boundary=\n\n--\n--"];
    for (const raw of rubbish) expect((await parseMail(raw)).defects).toContain("no sender");
    const nested = Array.from({ length: 40 }, (_, i) =>
      mail(`Content-Type: multipart/mixed; boundary="b${i}"`, "", `--b${i}`, ""),
    ).join("");
    const parsed = await parseMail(`From: a@example.org\r\n${nested}deep`);
    expect(parsed.defects.join()).toContain("MIME unreadable");
    expect(parsed.text).toContain("deep");
  });

  it("bounds what it keeps", async () => {
    const parsed = await parseMail(`From: a@example.org\nSubject: ${"s".repeat(5000)}\n\n${"word ".repeat(200_000)}`);
    expect(parsed.text.length).toBe(TEXT_MAX);
    expect(parsed.subject.length).toBe(300);
    expect(parsed.defects).toContain(`cut to ${RAW_MAX} bytes`);
  });

  it("reads real mails of every group: sender, subject, text", async () => {
    const corpus = openCorpus();
    let readable = 0;
    let read = 0;
    for (let i = 0; i < corpus.size; i += 53) {
      const parsed = await parseMail(corpus.read(i));
      readable += Number(parsed.from.address.includes("@") && parsed.text !== "" && parsed.date !== null);
      read++;
    }
    expect(readable / read).toBeGreaterThan(0.95);
  });
});

describe("htmlToText", () => {
  it("leaves out what no reader sees and breaks lines at blocks", () => {
    const { text } = htmlToText(
      "<head><title>t</title></head><style>p{}</style><!-- <p>no</p> --><div>one<br>two</div><td>a</td><td>b</td>" +
        "<script>if (1 < 2) alert('<p>')</script>three",
    );
    expect(text).toBe("one\ntwo\na b three");
  });

  it("takes a lone < as text and an unclosed tag or script as the end", () => {
    expect(htmlToText("1 < 2 and <3").text).toBe("1 < 2 and <3");
    expect(htmlToText("before <a href='http://x.example/").text).toBe("before");
    expect(htmlToText("before <script> never closed").text).toBe("before");
    expect(htmlToText("<head>shown all the same").text).toBe("shown all the same");
  });

  it("decodes named, decimal and hexadecimal entities, and keeps unknown ones", () => {
    expect(decodeEntities("&lt;&#65;&#x1F600;&eacute;&nope;&#xD800;&#9999999;")).toBe("<A😀é&nope;\ufffd\ufffd");
  });

  it("is linear in its input", () => {
    const took = (html: string) => {
      const start = performance.now();
      htmlToText(html);
      return performance.now() - start;
    };
    for (const piece of ["<", "<a ", "<!--", "<script", "<head>", "<title>x", "&#", "<script></script"]) {
      took(piece.repeat(1000));
      expect(took(piece.repeat(60_000)), piece).toBeLessThan(1000);
    }
  });
});
