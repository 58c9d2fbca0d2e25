// Checks the package as npm would publish it: its manifest by publint, its types as users resolve them by attw.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { command, type Outcome, root } from "./command.ts";
import { npmCommand } from "./locked.mjs";

// The checkers live in tools/package, outside this package's reach, so their types are written here as far as used.
interface Publint {
  publint(options: { strict: boolean; pack: { tarball: ArrayBuffer } }): Promise<{ messages: unknown[]; pkg: object }>;
}
interface PublintUtils {
  formatMessage(message: unknown, pkg: object, options: { color: boolean }): string | undefined;
}
interface Attw {
  createPackageFromTarballData(tarball: Uint8Array): unknown;
  checkPackage(pkg: unknown): Promise<{ types: unknown; problems?: Problem[] }>;
}
interface Problem {
  kind: string;
  entrypoint?: string;
  resolutionKind?: string;
}

/** Packs the package into `folder` and returns the tarball's path. Throws an Error with npm's own words. */
export async function pack(folder: string): Promise<string> {
  const [npm, ...first] = npmCommand();
  const args = [...first, "pack", "--ignore-scripts", "--silent", "--pack-destination", folder];
  const { ok, output } = await command(npm, args);
  const name = output.trim().split("\n").at(-1) ?? "";
  if (!ok || !name.endsWith(".tgz")) throw new Error(`npm pack failed: ${output}`);
  return join(folder, name);
}

export async function checkPackage(): Promise<Outcome> {
  const folder = mkdtempSync(join(tmpdir(), "agentmatic-pack-"));
  try {
    const tarball = readFileSync(await pack(folder));
    const complaints = [...(await lintManifest(tarball)), ...(await lintTypes(tarball))];
    return { ok: complaints.length === 0, output: complaints.map((line) => `${line}\n`).join("") };
  } catch (error) {
    return { ok: false, output: `${(error as Error).message}\n` };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function lintManifest(tarball: Uint8Array): Promise<string[]> {
  const { publint } = await load<Publint>("publint");
  const { formatMessage } = await load<PublintUtils>("publint/utils");
  const { messages, pkg } = await publint({ strict: true, pack: { tarball: new Uint8Array(tarball).buffer } });
  return messages.map(
    (message) => `publint: ${formatMessage(message, pkg, { color: false }) ?? JSON.stringify(message)}`,
  );
}

async function lintTypes(tarball: Uint8Array): Promise<string[]> {
  const attw = await load<Attw>("@arethetypeswrong/core");
  const { types, problems = [] } = await attw.checkPackage(attw.createPackageFromTarballData(new Uint8Array(tarball)));
  if (!types) return ["attw: the package has no types"];
  // The package is ES modules only, so what CommonJS and the oldest resolution make of it says nothing.
  const ignored = ["node10", "node16-cjs"];
  return problems
    .filter(({ resolutionKind }) => !ignored.includes(resolutionKind ?? ""))
    .map((problem) => `attw: ${JSON.stringify(problem)}`);
}

async function load<T>(name: string): Promise<T> {
  const from = createRequire(join(root, "tools", "package", "package.json"));
  return (await import(pathToFileURL(from.resolve(name)).href)) as T;
}
