// What the random test has found, as graphs of a few nodes: each mended difference, and one graph for each that is meant.
import { beforeAll, describe, expect, test } from "vitest";
import type { Library } from "./build.ts";
import { compare } from "./compare.ts";
import type { Action, Case, Condition, GraphDescription, NodeDescription } from "./description.ts";
import { differences } from "./differences.ts";
import { agentmatic, langgraph } from "./libraries.ts";

let theirs: Library;

beforeAll(async () => {
  theirs = await langgraph();
});

type Some = Partial<Omit<GraphDescription, "nodes">> & Partial<Pick<Case, "before" | "after">>;

function node(own: Partial<NodeDescription> = {}): NodeDescription {
  const plain = { fails: 0, asks: 0, goto: [], gotoSends: false, defer: false, retries: false, handled: false };
  return { writes: ["log"], ...plain, inner: null, ...own };
}

function given(nodes: readonly NodeDescription[], actions: readonly Action[], own: Some): Case {
  const { edges = [], joins = [], conditions = [], sequence = 0, before = [], after = [] } = own;
  return { graph: { nodes, edges, joins, conditions, sequence }, before, after, actions };
}

const resume: Action = { kind: "resume" };
const goOn: Action = { kind: "go on" };
const editAs = (as: number): Action => ({ kind: "update", as });
const both = [
  [-1, 0],
  [-1, 1],
] as const;
const sends = (from: number, ...targets: number[]): Condition => ({ from, targets, sends: true });

/** The names of the differences; fails where something differs for no reason. */
async function found(one: Case): Promise<readonly string[]> {
  const result = await compare(theirs, agentmatic, one);
  expect(result.unknown).toBeUndefined();
  expect(result.actions).toBe(one.actions.length + 1);
  return result.found.map(({ id }) => id);
}

describe("the same in both", () => {
  test.each<[string, Case]>([
    [
      "an edit comes after what finished tasks wrote, and its condition sees that",
      given([node(), node({ asks: 1 }), node(), node()], [editAs(1)], {
        edges: both,
        conditions: [{ from: 1, targets: [2, 3, -1], sends: false }],
      }),
    ],
    [
      "an edit as a node that has finished comes on top of what that wrote",
      given([node(), node({ asks: 1 })], [editAs(0)], { edges: both }),
    ],
    [
      "an edit may write a channel that a finished task has written",
      given([node({ writes: ["over"] }), node({ asks: 1 })], [editAs(0)], { edges: both }),
    ],
    [
      "a source of a join that runs again in the superstep that completes it does not begin another round",
      given([node(), node(), node()], [], {
        edges: [
          [-1, 0],
          [-1, 2],
          [0, 1],
          [0, 2],
        ],
        joins: [{ from: [1, 2], to: 1 }],
      }),
    ],
    [
      "what comes to a join once more before its deferred target runs is part of the same turn",
      given([node(), node(), node({ defer: true }), node()], [], {
        edges: [...both, [-1, 3], [3, 1], [2, 0]],
        joins: [{ from: [0, 1], to: 2 }],
      }),
    ],
    [
      "a history shows all that was due, however each of it was stored",
      given([node(), node({ asks: 1 }), node()], [resume, goOn], {
        edges: [...both, [-1, 2], [1, 2]],
        after: [2],
      }),
    ],
    [
      "a breakpoint after a node stops where it ran as a single call",
      given([node(), node(), node()], [goOn], {
        edges: [
          [-1, 0],
          [1, 2],
        ],
        conditions: [sends(0, 1)],
        after: [1],
      }),
    ],
    [
      "single calls of a command get nested input, beside edges and a sequence",
      given([node({ goto: [1, 2], gotoSends: true }), node(), node({ writes: ["sum", "log"] })], [], {
        edges: [
          [-1, 0],
          [0, 1],
        ],
        conditions: [sends(0, 1, 2)],
        sequence: 2,
      }),
    ],
  ])("%s", async (_name, one) => {
    const view = ["unfinished-superstep", "edit-of-an-unfinished-superstep"];
    expect((await found(one)).filter((id) => !view.includes(id))).toEqual([]);
  });
});

/** A graph for each, by name: a difference that LangGraph.js no longer has is found here. */
const meant: Record<string, Case> = {
  "unfinished-superstep": given([node(), node({ asks: 1 })], [], { edges: both }),
  "answered-tasks": given([node({ asks: 2 })], [resume], { edges: [[-1, 0]] }),
  "refused-writes": given([node({ writes: ["mark"] }), node({ writes: ["mark"] })], [goOn], { edges: both }),
  "beside-a-failure": given([node(), node({ fails: 9 })], [], { edges: both }),
  "end-at-the-limit": given([node({ goto: [0] })], [], {
    edges: [[-1, 0]],
    conditions: [{ from: 0, targets: [0, -1], sends: false }],
  }),
  "deferred-beside-sends": given([node({ defer: true }), node()], [], {
    edges: [[-1, 0]],
    conditions: [sends(-1, 1)],
  }),
  "join-and-turn": given([node(), node(), node()], [], {
    edges: [...both, [0, 2]],
    joins: [{ from: [0, 1], to: 2 }],
  }),
  "edit-of-an-unfinished-superstep": given([node({ writes: [] }), node({ asks: 1 }), node()], [editAs(1)], {
    edges: [...both, [0, 2]],
  }),
  "edit-leaves-due": given([node({ defer: true })], [editAs(0)], { edges: [[-1, 0]], before: [0] }),
  "answer-given-twice": given([node({ asks: 2, writes: [] })], [resume, goOn], { edges: [[-1, 0]] }),
};

describe("different on purpose", () => {
  test("each difference has its graph", () => {
    expect(Object.keys(meant).sort()).toEqual(differences.map(({ id }) => id).sort());
  });

  test.each(Object.entries(meant))("%s", async (id, one) => {
    expect(await found(one)).toContain(id);
  });
});
