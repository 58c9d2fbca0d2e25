/** The types of what a graph is made of: what a function is given, and what it may give back. */
import type { Command, Send } from "./command.ts";
import type { NodeContext } from "./context.ts";

/** What a run's `context` holds where no schema says more. */
export type Settings = Readonly<Record<string, unknown>>;

export type ContextWith<Context> = NodeContext & { readonly context: Context };

export type NodeResult<Update> =
  | Update
  | Command<Update>
  | Send
  | readonly (Update | Command<Update> | Send)[]
  | null
  | undefined
  // biome-ignore lint/suspicious/noConfusingVoidType: a node function that returns nothing is of type void
  | void;

export type NodeCall<State, Update, Context = Settings> = (
  state: State,
  context: ContextWith<Context>,
) => NodeResult<Update> | Promise<NodeResult<Update>>;

/** A node's name or `END`, a single call, or a key of the edge's targets. */
export type Answer = string | Send | boolean | number;

export type PathCall<State, Context = Settings> = (
  state: State,
  context: ContextWith<Context>,
) => Answer | readonly Answer[] | Promise<Answer | readonly Answer[]>;
