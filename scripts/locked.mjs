// Installs a folder that has a package.json and a package-lock.json of its own: the parts too heavy for everybody's
// `npm ci`. Plain JavaScript without dependencies, because with-node.mjs needs it on a Node that runs no TypeScript.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";

/**
 * Runs `npm ci --ignore-scripts` in `folder`, unless what is there was installed from the very same lock file.
 * Throws with npm's own words when npm fails.
 *
 * @param {string} folder absolute path of the folder with the manifest
 * @param {string} what what is being installed and why, for the one line that is printed
 * @returns {boolean} true if something was installed, false if it was there already
 */
export function installLocked(folder, what) {
  if (isInstalled(folder)) return false;
  console.error(`Installing ${what}`);
  const [command, ...first] = npmCommand();
  const result = spawnSync(command, [...first, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], {
    cwd: folder,
    env: cleanEnv(),
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  });
  if (result.error) throw new Error(`npm could not be run (${result.error.message}); is it in PATH?`);
  if (result.status !== 0) throw new Error(`npm ci failed in ${folder}:\n${result.stderr}${result.stdout}`);
  const missing = missingBinaries(folder);
  if (missing.length > 0) throw new Error(`npm could not bring ${missing.join(" and ")}`);
  writeFileSync(stampFile(folder), lockHash(folder));
  return true;
}

/**
 * @param {string} folder absolute path of the folder with the manifest
 * @returns {boolean} whether the folder's node_modules was installed from the lock file as it is now
 */
export function isInstalled(folder) {
  return existsSync(stampFile(folder)) && readFileSync(stampFile(folder), "utf8") === lockHash(folder);
}

/**
 * The command that runs npm: the npm that runs this script where there is one, so that a Node found by with-node.mjs
 * needs no npm of its own.
 *
 * @returns {string[]} the program and its first arguments
 */
export function npmCommand() {
  const running = process.env.npm_execpath;
  if (running && basename(running) === "npm-cli.js") return [process.execPath, running];
  return ["npm"];
}

// npm passes over an optional package that it cannot fetch, and calls that a success.
function missingBinaries(folder) {
  const { packages } = JSON.parse(readFileSync(join(folder, "package-lock.json"), "utf8"));
  return Object.keys(packages[""].optionalDependencies ?? {}).filter((name) => {
    const { os, cpu } = packages[`node_modules/${name}`] ?? {};
    const isOurs = os?.includes(process.platform) && cpu?.includes(process.arch);
    return isOurs && !existsSync(join(folder, "node_modules", name));
  });
}

function stampFile(folder) {
  return join(folder, "node_modules", ".locked");
}

function lockHash(folder) {
  return createHash("sha256")
    .update(readFileSync(join(folder, "package-lock.json")))
    .digest("hex");
}

// npm hands its scripts the outer package's settings; the inner npm must find its own package.
function cleanEnv() {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^npm_(package|lifecycle|config_local_prefix)/.test(name)),
  );
}
