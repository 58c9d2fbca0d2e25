// The built package by its own name, as a user imports it.
import { Annotation, END, START, StateGraph } from "agentmatic";

const add = async ({ count }) => ({ count: count + 1 });
const graph = new StateGraph(Annotation.Root({ count: Annotation() }))
  .addNode("a", add)
  .addNode("b", add)
  .addEdge(START, "a")
  .addEdge("a", "b")
  .addEdge("b", END)
  .compile();
console.log((await graph.invoke({ count: 0 })).count);
