// Plans are kept, and are often made while the tables are empty: each statement must go by an index even then.
import postgres from "postgres";
import { expect, test } from "vitest";
import { statements } from "../../adapters/postgres/statements.ts";
import { Stage } from "./postgres-fixture.ts";

interface Node {
  "Node Type": string;
  "Relation Name"?: string;
  "Index Cond"?: string;
  Plans?: Node[];
}

/** Tables of a few rows, which are read whole. */
const small = new Set(["meta", "members"]);

test("every statement, planned while its tables are empty, reads the growing ones by an index condition", async () => {
  await using stage = await Stage.open();
  await stage.saver();
  const connection = { enable_seqscan: "off", jit: "off", plan_cache_mode: "force_generic_plan" };
  const sql = postgres(stage.url, { max: 1, fetch_types: false, connection });
  try {
    const all = statements(stage.schema, false);
    const shapes = [true, false].flatMap((writes) => [true, false].map((ends) => ({ writes, ends })));
    const texts: [string, string][] = Object.entries(all).flatMap(([name, text]): [string, string][] => {
      if (name === "commit") return shapes.map((shape) => [`commit ${JSON.stringify(shape)}`, all.commit(shape)]);
      if (name === "admit") return [true, false].map((enqueue) => [`admit ${enqueue}`, all.admit(enqueue)]);
      return [[name, String(text)]];
    });
    for (const [name, text] of texts) {
      for (const scan of scans(await plan(sql, text))) {
        if (!small.has(scan["Relation Name"] ?? ""))
          expect(scan["Index Cond"], `${name}: ${describe(scan)}`).toBeDefined();
      }
    }
  } finally {
    await sql.end();
  }
});

async function plan(sql: postgres.Sql, text: string): Promise<Node> {
  const count = Math.max(0, ...[...text.matchAll(/\$(\d+)/g)].map(([, digits]) => Number(digits)));
  await sql.unsafe(`PREPARE one AS ${text}`);
  const nulls = count === 0 ? "" : `(${Array(count).fill("NULL").join(", ")})`;
  const [row] = await sql.unsafe(`EXPLAIN (FORMAT JSON, COSTS OFF) EXECUTE one${nulls}`);
  await sql.unsafe("DEALLOCATE one");
  return row?.["QUERY PLAN"][0].Plan;
}

function scans(node: Node): Node[] {
  const below = (node.Plans ?? []).flatMap(scans);
  return /^(Seq|Index|Index Only|Bitmap Index) Scan$/.test(node["Node Type"]) ? [node, ...below] : below;
}

function describe(scan: Node): string {
  return `${scan["Node Type"]} on ${scan["Relation Name"]}`;
}
