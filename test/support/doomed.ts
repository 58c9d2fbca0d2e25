/** Processes that die and others that go on, in this one process: over a store that both reach. */
import { MemorySaver, type MemoryStore, type Ports, systemPorts } from "../../src/mod.ts";

export interface Doomed {
  readonly saver: MemorySaver;
  readonly ports: Ports;
  readonly isDead: () => boolean;
}

/** A process that stands still for ever once the store has taken its `nth` write of a kind, before it hears of that. */
export function doomed(store: MemoryStore, kind: "commit" | "putWrites", nth: number): Doomed {
  let writes = 0;
  let dead = false;
  const never = new Promise<never>(() => undefined);
  const saver = new Proxy(new MemorySaver({ store }), {
    get(target, key) {
      const value = Reflect.get(target, key, target) as unknown;
      if (typeof value !== "function") return value;
      return async (...args: unknown[]) => {
        if (dead) return await never;
        const result = (await value.apply(target, args)) as unknown;
        if (key === kind && ++writes === nth) dead = true;
        return dead ? await never : result;
      };
    },
  });
  const timers: Ports["timers"] = {
    after: (delayMs, run) => systemPorts.timers.after(delayMs, () => (dead ? undefined : run())),
  };
  return { saver, ports: { ...systemPorts, timers }, isDead: () => dead };
}

/** A clock by which the dead one's lease of ten seconds is soon over. */
export function hasty(): Ports {
  const { clock } = systemPorts;
  return { ...systemPorts, clock: { ...clock, monotonicMs: () => clock.monotonicMs() * 40 } };
}
