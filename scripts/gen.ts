// Generates src/rpc/gen from proto/, and tells whether what is there is fresh.
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { command, type Outcome, root } from "./command.ts";

const gen = join("src", "rpc", "gen");

/** Generates into a temporary folder and compares: fails with the names of the files that differ. */
export async function checkGenerated(): Promise<Outcome> {
  const folder = mkdtempSync(join(tmpdir(), "agentmatic-gen-"));
  try {
    const outcome = await command("buf", ["generate", "--output", folder]);
    if (!outcome.ok) return outcome;
    const fresh = join(folder, gen);
    const here = join(root, gen);
    const names = new Set([...filesIn(fresh), ...filesIn(here)]);
    const stale = [...names].filter((name) => read(join(fresh, name)) !== read(join(here, name)));
    if (stale.length === 0) return { ok: true, output: "" };
    return { ok: false, output: `not as proto/ says: ${stale.join(", ")}; run \`npm run gen\`\n` };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function filesIn(folder: string): string[] {
  return globSync("**/*.ts", { cwd: folder });
}

function read(file: string): string | undefined {
  return existsSync(file) ? readFileSync(file, "utf8") : undefined;
}

if (process.argv[1] === import.meta.filename) {
  // A message taken out of proto/ must not live on in an old file.
  rmSync(join(root, gen), { recursive: true, force: true });
  const { ok, output } = await command("buf", ["generate"]);
  process.stdout.write(output);
  process.exitCode = ok ? 0 : 1;
}
