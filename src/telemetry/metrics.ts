/** Metrics as the core sees them: three verbs over a closed set of names. */
import type { MetricName } from "./names.ts";

/** Only the labels that the name's definition lists; others are dropped. */
export type Labels = Readonly<Record<string, string>>;

/** Implementations never throw and never wait: a metric must not stop a run. */
export interface Metrics {
  /** Raises a counter; `by` is not negative. */
  add(name: MetricName, by: number, labels?: Labels): void;
  /** Sets a gauge. */
  gauge(name: MetricName, value: number, labels?: Labels): void;
  /** Adds a value to a histogram; times are in seconds. */
  observe(name: MetricName, value: number, labels?: Labels): void;
}

export const noMetrics: Metrics = { add() {}, gauge() {}, observe() {} };
