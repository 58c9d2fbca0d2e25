// Triage of real e-mails on a cluster whose workers are killed and frozen on the way: the command. See README.md.
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AgentmaticError } from "agentmatic";
import { llmSettings } from "./llm.ts";
import { HELP, type Options, parseOptions } from "./options.ts";
import { isClean, resultLine, summary } from "./summary.ts";
import { triageMails } from "./triage.ts";

const SIGNALS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  const options = read(args);
  if (typeof options === "number") return options;
  const folder = mkdtempSync(join(tmpdir(), "agentmatic-mail-triage-"));
  for (const [signal, code] of Object.entries(SIGNALS)) {
    process.once(signal, () => {
      rmSync(folder, { recursive: true, force: true });
      process.exit(code);
    });
  }
  try {
    const facts = await triageMails(options, folder);
    const fine = isClean(facts.report) || options.unfenced;
    console.log(summary(facts));
    if (fine && !options.keep) rmSync(folder, { recursive: true, force: true });
    else console.log(`the job's files are in ${folder}`);
    console.log(resultLine(facts));
    return fine ? 0 : 1;
  } catch (error) {
    console.error((error as Error).message);
    if (readdirSync(folder).some((name) => name.endsWith(".log"))) console.error(`the workers' logs are in ${folder}`);
    else rmSync(folder, { recursive: true, force: true });
    return AgentmaticError.is(error, "InvalidArgument") ? 2 : 1;
  }
}

/** The options, or the exit code where there is nothing to run. */
function read(args: readonly string[]): Options | number {
  try {
    const options = parseOptions(args);
    if (options === "help") {
      process.stdout.write(HELP);
      return 0;
    }
    if (options.llm !== null) llmSettings(options.llm, process.env);
    return options;
  } catch (error) {
    console.error((error as Error).message);
    return 2;
  }
}
