/** `agentmatic/sqlite`: the embedded store, one file for all processes of a machine. */
export { type LockWatch, lockHolders, stuckHolders, writeLockHeld } from "./lock.ts";
export { SqliteSaver, type SqliteSaverOptions } from "./saver.ts";
