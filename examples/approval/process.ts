/** One process of the three: `process.ts <number> ask|answer`, the rest in its environment. Prints what came of it. */
import { Command } from "agentmatic";
import { SqliteSaver } from "agentmatic/sqlite";
import { makeAgent } from "./agent.ts";
import { Journal } from "./journal.ts";
import { question, runId, type Setting, threadId } from "./setting.ts";

const [number, what] = process.argv.slice(2);
const { modelUrl, store, journal, silent } = JSON.parse(process.env.TRAVEL ?? "{}") as Setting;

const saver = new SqliteSaver({ path: store });
await saver.setup();
const agent = makeAgent({ modelUrl, saver, journal: new Journal(journal), process: Number(number), silent });
// The same run, by its id, in whatever process: the second one finds it begun and goes on with it.
const { text, __interrupt__: asks = [] } =
  what === "answer"
    ? await agent.invoke(new Command({ resume: { approved: true } }), { threadId })
    : await agent.invoke(question, { threadId, runId });
console.log(JSON.stringify({ text, asks: asks.map(({ value }) => value) }));
await saver.close();
