/** What all processes agree on. */
export interface Setting {
  readonly modelUrl: string;
  /** The store's file. */
  readonly store: string;
  /** The journal's file. */
  readonly journal: string;
  /** The city whose airport does not answer. */
  readonly silent?: string;
}

export const threadId = "customer-42";
export const runId = "trip-1";
export const question = "Book the cheaper of Oslo and Bergen.";
