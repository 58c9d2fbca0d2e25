// npm test: everything. npm test -- FILTER: only the test files whose path contains FILTER; vitest's own flags work too.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative, sep } from "node:path";
import { buildIfNeeded } from "./build.ts";
import { checks } from "./check.ts";
import { command, root } from "./command.ts";
import { type Counts, printStage, runStages, type Stage } from "./stages.ts";
import { installAll } from "./tools.ts";

/** What is read of vitest's JSON report. */
interface Report {
  success: boolean;
  testResults: {
    name: string;
    status: string;
    message: string;
    startTime: number;
    endTime: number;
    assertionResults: { status: string }[];
  }[];
}

const args = process.argv.slice(2);
const filters = args.filter((arg) => arg !== "--long");
if (filters.length < args.length) process.env.AGENTMATIC_TEST_LONG = "1";

const missing = installAll();
const stages: Stage[] = filters.length > 0 ? [{ name: "build", work: buildIfNeeded }] : checks();
const counts = await runStages(stages);
const tests = await runTests(filters);
for (const key of ["passed", "failed", "skipped"] as const) counts[key] += tests[key];
counts.failed += missing.length;
for (const entry of missing) console.log(`did not run for want of ${entry}`);
console.log(
  `${counts.passed} passed, ${counts.failed} failed${counts.skipped > 0 ? `, ${counts.skipped} skipped` : ""}`,
);
process.exitCode = counts.failed > 0 ? 1 : 0;

async function runTests(filters: readonly string[]): Promise<Counts> {
  const folder = mkdtempSync(join(tmpdir(), "agentmatic-report-"));
  try {
    const file = join(folder, "report.json");
    const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${file}`];
    const { ok } = await command("vitest", ["run", ...reporters, ...filters], { show: true });
    const counts = count(readReport(file));
    // Errors outside every test (a leaked rejection, no test file found) have no count of their own.
    if (!ok && counts.failed === 0) counts.failed = 1;
    return counts;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function readReport(file: string): Report {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Report;
  } catch {
    console.log("vitest ended without a report");
    return { success: false, testResults: [] };
  }
}

function count(report: Report): Counts {
  const total: Counts = { passed: 0, failed: 0, skipped: 0 };
  const folders = new Map<string, { counts: Counts; ms: number }>();
  for (const result of report.testResults) {
    const name = relative(root, result.name).split(sep).slice(0, 2).join("/");
    const entry = folders.get(name) ?? { counts: { passed: 0, failed: 0, skipped: 0 }, ms: 0 };
    folders.set(name, entry);
    entry.ms += result.endTime - result.startTime;
    const statuses = result.assertionResults.map(({ status }) => status);
    // A file that could not be loaded has no tests to fail.
    if (result.status === "failed" && !statuses.includes("failed")) statuses.push("failed");
    for (const status of statuses) {
      const key = status === "passed" || status === "failed" ? status : "skipped";
      entry.counts[key]++;
      total[key]++;
    }
  }
  for (const [name, { counts, ms }] of folders) {
    const { passed, failed, skipped } = counts;
    printStage(
      failed === 0,
      `${name}: ${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`,
      ms,
    );
  }
  return total;
}
