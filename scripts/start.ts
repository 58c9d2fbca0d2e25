// The main job: examples/mail-triage on a cluster of its own, with all arguments passed on.
import { join } from "node:path";
import { buildIfNeeded } from "./build.ts";
import { become } from "./child.mjs";
import { environment, root } from "./command.ts";
import { installExample } from "./tools.ts";

const { ok, output } = await buildIfNeeded();
if (!ok) {
  process.stderr.write(output);
  process.exit(1);
}
try {
  installExample("mail-triage");
} catch (error) {
  console.error((error as Error).message);
  process.exit(1);
}
const main = join(root, "examples", "mail-triage", "main.ts");
become(process.execPath, ["--disable-warning=ExperimentalWarning", main, ...process.argv.slice(2)], environment());
