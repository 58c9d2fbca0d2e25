/** A saver whose commits are measured. */
import type { Saver } from "../../src/checkpoint/saver.ts";
import type { Clock } from "../../src/ports.ts";
import type { Metrics } from "../../src/telemetry/metrics.ts";
import { metricNames } from "../../src/telemetry/names.ts";

export function timed(saver: Saver, metrics: Metrics, clock: Clock): Saver {
  const commit: Saver["commit"] = async (batch) => {
    const startMs = clock.monotonicMs();
    try {
      return await saver.commit(batch);
    } finally {
      const seconds = (clock.monotonicMs() - startMs) / 1000;
      metrics.observe(metricNames.checkpointWriteSeconds, seconds, { store: saver.kind });
    }
  };
  return new Proxy(saver, {
    get(target, name) {
      if (name === "commit") return commit;
      const value: unknown = Reflect.get(target, name);
      // Methods keep their own `this`: private fields are out of a proxy's reach.
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
