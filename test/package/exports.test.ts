import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, it } from "vitest";
import { root } from "../support/imports.ts";

type Manifest = Record<string, unknown> & { version: string; exports: Record<string, unknown> };

const npm = readJson("package.json") as Manifest;
const jsr = readJson("deno.json") as Manifest & { exports: Record<string, string> };
const surface = readJson("test/package/exports.json") as Record<string, string[]>;
const entries = Object.keys(npm.exports).filter((key) => key !== "./package.json");

// The worker's command does its work when it is imported; its surface is its flags.
const commands = ["./worker"];

describe("package.json and deno.json", () => {
  it("have the same version, licence and entries", () => {
    expect({ version: jsr.version, license: jsr.license }).toEqual({ version: npm.version, license: npm.license });
    expect(Object.keys(jsr.exports)).toEqual(entries);
  });

  it.each(entries)("%s is the same module in both, built and as source", (entry) => {
    const source = jsr.exports[entry] ?? "";
    const built = source.replace(/^\.\/(.*)\.ts$/, "./dist/$1");
    expect(npm.exports[entry]).toEqual({ types: `${built}.d.ts`, default: `${built}.js` });
    expect(existsSync(join(root, source)), source).toBe(true);
  });
});

describe("what each entry exports", () => {
  it("is written down for every entry", () => {
    expect(Object.keys(surface)).toEqual(entries.filter((entry) => !commands.includes(entry)));
  });

  it.each(Object.keys(surface))("%s exports just what test/package/exports.json says", async (entry) => {
    const module = (await import(pathToFileURL(join(root, jsr.exports[entry] ?? "")).href)) as object;
    expect(Object.keys(module).sort()).toEqual(surface[entry]);
  });
});

function readJson(name: string): unknown {
  return JSON.parse(readFileSync(join(root, name), "utf8"));
}
