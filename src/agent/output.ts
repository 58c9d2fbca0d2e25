/** A tool's result that has more to tell than text or JSON. */
import type { LanguageModelV4ToolResultOutput } from "@ai-sdk/provider";

type Content = Extract<LanguageModelV4ToolResultOutput, { type: "content" }>;

/** Text and files, for the model to see as they are. */
export class ToolOutput {
  readonly parts: Content["value"];

  constructor(parts: Content["value"]) {
    this.parts = parts;
  }

  /** The same with a word before it. */
  after(text: string): ToolOutput {
    return new ToolOutput([{ type: "text", text }, ...this.parts]);
  }
}
