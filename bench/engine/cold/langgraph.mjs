import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const tools = join(import.meta.dirname, "..", "..", "..", "tools", "langgraph", "package.json");
const entry = createRequire(tools)
  .resolve("@langchain/langgraph")
  .replace(/\.cjs$/, ".js");
const { Annotation, END, START, StateGraph } = await import(pathToFileURL(entry).href);

const add = async ({ count }) => ({ count: count + 1 });
const graph = new StateGraph(Annotation.Root({ count: Annotation() }))
  .addNode("a", add)
  .addNode("b", add)
  .addEdge(START, "a")
  .addEdge("a", "b")
  .addEdge("b", END)
  .compile();
console.log((await graph.invoke({ count: 0 })).count);
