import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { classify, loadModel, saveModel, Trainer } from "../classifier.ts";
import { isTraining, openCorpus } from "../corpus.ts";
import { parseMail } from "../parse.ts";
import { mailWith } from "./mails.ts";

const folder = mkdtempSync(join(tmpdir(), "mail-triage-"));
afterAll(() => rmSync(folder, { recursive: true }));

function small() {
  const trainer = new Trainer();
  for (const word of ["viagra", "casino", "winner"])
    trainer.add(mailWith({ text: `cheap ${word} click here` }), "spam");
  for (const word of ["patch", "kernel", "meeting"])
    trainer.add(mailWith({ text: `the ${word} you asked for` }), "ham");
  return trainer.finish();
}

describe("classifier", () => {
  it("learns from words", () => {
    expect(classify(small(), mailWith({ text: "cheap casino" }))).toMatchObject({ label: "spam" });
    expect(classify(small(), mailWith({ text: "the kernel patch" }))).toMatchObject({ label: "ham" });
  });

  it("lets unseen words say nothing", () => {
    const model = small();
    const unseen = classify(model, mailWith({ text: "zebra" })).score;
    expect(classify(model, mailWith({ text: "zebra giraffe okapi" })).score).toBe(unseen);
  });

  it("does not look at the sender", () => {
    const model = small();
    const mine = classify(model, mailWith({ from: { name: "x", address: "x@spam.example" }, text: "casino" }));
    expect(classify(model, mailWith({ text: "casino" }))).toEqual(mine);
  });

  it("needs both classes", () => {
    const trainer = new Trainer();
    trainer.add(mailWith(), "ham");
    expect(() => trainer.finish()).toThrow("1 ham and 0 spam");
  });

  it("comes back from its file the same, and refuses another file", () => {
    const path = join(folder, "model");
    saveModel(small(), path);
    expect(loadModel(path)).toEqual(small());
    writeFileSync(join(folder, "other"), "no model");
    expect(() => loadModel(join(folder, "other"))).toThrow("is not a model");
  });

  it("is right about more than 95 of 100 mails that it never saw", async () => {
    const corpus = openCorpus();
    const trainer = new Trainer();
    for (let i = 0; i < corpus.size; i += 2) {
      expect(isTraining(i)).toBe(true);
      trainer.add(await parseMail(corpus.read(i)), corpus.entry(i).label);
    }
    const model = trainer.finish();
    let right = 0;
    let asked = 0;
    for (let i = 1; i < corpus.size; i += 6) {
      right += Number(classify(model, await parseMail(corpus.read(i))).label === corpus.entry(i).label);
      asked++;
    }
    expect(right / asked).toBeGreaterThan(0.95);
  }, 60_000);
});
