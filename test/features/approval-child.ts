/**
 * A process of its own that runs an approval over a SQLite file: `approval-child.ts <file> <command as JSON>`.
 * Prints what its nodes do and, as its last line, the result as JSON.
 */
import { SqliteSaver } from "../../adapters/sqlite/mod.ts";
import { Annotation, Command, START, StateGraph } from "../../src/mod.ts";

const [path = "", given = "{}"] = process.argv.slice(2);
const say = (text: string) => process.stdout.write(`${text}\n`);

const review = new StateGraph({ item: Annotation<string>(), verdict: Annotation<string>() })
  .addNode("read", ({ item }) => {
    say(`read ${item}`);
  })
  .addNode("judge", ({ item }, ctx) => ({ verdict: `${item} ${ctx.interrupt(`publish ${item}?`)}` }))
  .addEdge(START, "read")
  .addEdge("read", "judge")
  .compile({ name: "review" });

const graph = new StateGraph({ log: Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }) })
  .addNode("left", async (_state, ctx) => {
    const { verdict } = await review.invoke({ item: "left" }, ctx);
    return { log: [verdict] };
  })
  .addNode("right", (_state, ctx) => {
    say(`right, attempt ${ctx.attempt}`);
    return { log: [`right ${ctx.interrupt("go right?")}`] };
  })
  .addNode("after", ({ log }) => ({ log: [`after ${log.length}`] }))
  .addEdge(START, "left")
  .addEdge(START, "right")
  .addEdge(["left", "right"], "after");

const saver = new SqliteSaver({ path });
await saver.setup();
const compiled = graph.compile({ name: "approval", checkpointer: saver });
const command = JSON.parse(given) as { resume?: Record<string, unknown> };
const end = await compiled.invoke(command.resume ? new Command(command) : {}, { threadId: "t" });
say(`result ${JSON.stringify(end)}`);
