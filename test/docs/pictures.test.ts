/** The pictures of docs/guide/pictures.md are those that the software draws; `-u` draws them again. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Annotation } from "../../src/graph/channels.ts";
import { END, START } from "../../src/graph/plan.ts";
import { StateGraph } from "../../src/local/state-graph.ts";
import { drawMermaid, drawSvg } from "../../src/picture/mod.ts";
import { root } from "../support/imports.ts";
import { nestedGraph } from "../unit/picture/charts.ts";

const nothing = (): object => ({});
const state = { x: Annotation<unknown> };

const weather = new StateGraph(state)
  .addNode("agent", nothing)
  .addNode("tools", nothing)
  .addEdge(START, "agent")
  .addConditionalEdges("agent", () => END, { call: "tools", done: END })
  .addEdge("tools", "agent")
  .compile({ name: "weather", interruptBefore: ["tools"] });

const orders = new StateGraph(state)
  .addNode("check", nothing)
  .addNode("reserve", nothing)
  .addNode("approve", nothing)
  .addNode("ship", nothing)
  .addEdge(START, "check")
  .addEdge("check", "reserve")
  .addEdge("check", "approve")
  .addEdge(["reserve", "approve"], "ship")
  .addEdge("ship", END)
  .compile({ name: "orders" });

const waits = { next: ["approve"], finished: ["reserve"], interrupted: ["approve"] };

const pictures: Readonly<Record<string, string>> = {
  "orders.svg": drawSvg(orders, { state: waits }),
  "team.svg": drawSvg(nestedGraph(), { xray: 1 }),
  "weather.svg": drawSvg(weather, { title: "Weather", direction: "LR" }),
};

const page = readFileSync(join(root, "docs/guide/pictures.md"), "utf8");

describe("docs/guide/pictures.md", () => {
  it.each(Object.entries(pictures))("%s is up to date", async (name, svg) => {
    await expect(svg).toMatchFileSnapshot(join(root, "docs/pictures", name));
  });

  it("shows all pictures, and there are no others", () => {
    expect(readdirSync(join(root, "docs/pictures")).sort()).toEqual(Object.keys(pictures));
    for (const name of Object.keys(pictures)) expect(page).toContain(`](../pictures/${name})`);
  });

  it("shows the text that the first graph gives", () => {
    expect(page).toContain(`\`\`\`mermaid\n${drawMermaid(weather)}\`\`\``);
  });
});
