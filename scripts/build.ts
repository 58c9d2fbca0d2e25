// Compiles src, adapters and bin to dist with plain tsc, and bundles what it made.
import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  globSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { bundle } from "./bundle.ts";
import { command, type Outcome, root } from "./command.ts";

const dist = join(root, "dist");
const stampFile = join(root, ".agentmatic", "built");
const sources = [
  "{src,adapters,bin}/**/*.ts",
  "tsconfig.base.json",
  "tsconfig.build.json",
  "package.json",
  "scripts/bundle.ts",
];

/** Builds unless dist was made from the very same sources. */
export async function buildIfNeeded(): Promise<Outcome & { built: boolean }> {
  const hash = sourceHash();
  if (existsSync(dist) && existsSync(stampFile) && readFileSync(stampFile, "utf8") === hash) {
    return { ok: true, output: "", built: false };
  }
  return { ...(await build(hash)), built: true };
}

async function build(hash: string): Promise<Outcome> {
  // Built aside and swapped in, so that nothing old stays and nobody who runs from dist meets half a build.
  const fresh = join(root, ".agentmatic", `dist-${process.pid}`);
  try {
    const outcome = await command("tsc", ["-p", "tsconfig.build.json", "--outDir", fresh]);
    if (!outcome.ok) return outcome;
    await bundle(fresh);
    const bin = join(fresh, "bin");
    if (existsSync(bin)) {
      for (const name of readdirSync(bin)) if (name.endsWith(".js")) chmodSync(join(bin, name), 0o755);
    }
    rmSync(dist, { recursive: true, force: true });
    renameSync(fresh, dist);
    mkdirSync(join(root, ".agentmatic"), { recursive: true });
    writeFileSync(stampFile, hash);
    return outcome;
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}

function sourceHash(): string {
  const hash = createHash("sha256");
  for (const file of globSync(sources, { cwd: root }).sort()) {
    hash
      .update(`${file}\0`)
      .update(readFileSync(join(root, file)))
      .update("\0");
  }
  return hash.digest("hex");
}

if (process.argv[1] === import.meta.filename) {
  const { ok, output } = await build(sourceHash());
  process.stdout.write(output);
  process.exitCode = ok ? 0 : 1;
}
