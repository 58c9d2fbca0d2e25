/** The same plan, with an eye on which of its nodes are at work. */
import type { Plan, PlanNode } from "../graph/plan.ts";
import type { Timers } from "../ports.ts";

/** Milliseconds that nodes of a dead process have to come to their ends. */
const graceMs = 2_000;

export class NodeWatch {
  readonly #working: Set<Promise<unknown>> = new Set();

  watched(plan: Plan): Plan {
    return { ...plan, nodes: new Map([...plan.nodes].map(([name, node]) => [name, this.#node(node)])) };
  }

  /** Resolves once no node is at work: what a dead process had under way is over. */
  async quiet(timers: Timers): Promise<void> {
    let cancel = () => {};
    const late = new Promise<true>((resolve) => {
      cancel = timers.after(graceMs, () => resolve(true));
    });
    while (this.#working.size > 0) {
      if (await Promise.race([Promise.allSettled([...this.#working]).then(() => false), late])) break;
    }
    cancel();
  }

  #node(node: PlanNode): PlanNode {
    const { subgraph } = node;
    const run: PlanNode["run"] = (state, context) => this.#note(node.run(state, context));
    if (!subgraph) return { ...node, run };
    return { ...node, run, subgraph: { ...subgraph, plan: this.watched(subgraph.plan) } };
  }

  #note(returned: unknown): unknown {
    if (!(returned instanceof Promise)) return returned;
    const settled = returned.then(
      () => void this.#working.delete(settled),
      () => void this.#working.delete(settled),
    );
    this.#working.add(settled);
    return returned;
  }
}
