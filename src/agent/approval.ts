/** A person's word before a tool call is made. */
import { AgentmaticError } from "../errors.ts";
import type { NodeContext } from "../graph/context.ts";
import { isThenable, type StandardResult, type StandardSchema } from "../graph/schema.ts";

/** The value of the interrupt. */
export interface ApprovalRequest {
  readonly type: "approval";
  readonly tool: string;
  /** As the model gave it. */
  readonly input: unknown;
  readonly toolCallId: string;
}

/** What it is answered with. `input` takes the place of the model's; the reason of a refusal is told to the model. */
export type ApprovalAnswer =
  | boolean
  | { readonly approved: boolean; readonly reason?: string; readonly input?: unknown };

export type Verdict =
  | { readonly approved: false; readonly reason: string }
  | { readonly approved: true; readonly edited: false }
  /** `input` is as the person gave it, `read` what the tool's schema made of it. */
  | { readonly approved: true; readonly edited: true; readonly input: unknown; readonly read: unknown };

/** Gives what the tool's schema makes of an input. Throws `InvalidArgument` for one that does not fit. */
type Read = (input: unknown) => unknown;

const reasonDefault = "a person refused this call";

/**
 * Leaves the node with the question; the run that answers comes back with the verdict. An answer of another form, or
 * with an input that does not fit, is refused, and the thread waits for another.
 */
export function askApproval(
  context: Pick<NodeContext, "interrupt">,
  request: Omit<ApprovalRequest, "type">,
  read: Read,
): Verdict {
  const question: ApprovalRequest = { type: "approval", ...request };
  return context.interrupt<Verdict>(question, { schema: answerSchema(read) });
}

function answerSchema(read: Read): StandardSchema<unknown, Verdict> {
  return { "~standard": { version: 1, vendor: "agentmatic", validate: (answer) => verdictOf(answer, read) } };
}

function verdictOf(answer: unknown, read: Read): StandardResult<Verdict> {
  if (typeof answer === "boolean") return { value: answer ? { approved: true, edited: false } : refusal(undefined) };
  if (typeof answer !== "object" || answer === null) return { issues: [{ message: forms }] };
  const { approved, reason, ...rest } = answer as { approved?: unknown; reason?: unknown; input?: unknown };
  if (typeof approved !== "boolean") return { issues: [{ message: "must be true or false", path: ["approved"] }] };
  if (reason !== undefined && typeof reason !== "string") {
    return { issues: [{ message: "must be text", path: ["reason"] }] };
  }
  if (!approved) return { value: refusal(reason) };
  if (rest.input === undefined) return { value: { approved: true, edited: false } };
  try {
    return { value: { approved: true, edited: true, input: rest.input, read: settledLater(read(rest.input)) } };
  } catch (thrown) {
    return { issues: [{ message: AgentmaticError.from(thrown).message }] };
  }
}

const forms = "must be true, false or { approved, reason?, input? }";

function refusal(reason: string | undefined): Verdict {
  return { approved: false, reason: reason === undefined || reason === "" ? reasonDefault : reason };
}

/** A schema that checks asynchronously gives its word too late for the answer: the call then fails with it. */
function settledLater(read: unknown): unknown {
  if (isThenable(read)) read.then(undefined, () => undefined);
  return read;
}
