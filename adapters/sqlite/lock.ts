/**
 * A process that was frozen inside a transaction keeps the file's write lock, and nobody can write (PROTOCOL.md P20).
 * Only its end drops the lock, so whoever started the writers looks here whether a silent one is in the way, and kills
 * that one. A frozen process that holds no lock harms nobody and is fenced out when it thaws: leave it alone.
 */
import { readdir, readFile, readlink, realpath, stat } from "node:fs/promises";
import { type Clock, sleep, systemPorts, type Timers } from "../../src/ports.ts";
import { type Database, openDatabase } from "./driver.ts";
import { failure, isBusy } from "./failure.ts";

const lookEveryMs = 20;
/** A longer pause between two looks counts as this much: then it was this process, or the machine, that stood still. */
const pauseMsMax = 100;

export interface LockWatch {
  /** Milliseconds for which the lock must be held without a pause. */
  readonly forMs: number;
  readonly ports?: { readonly clock: Clock; readonly timers: Timers };
}

/**
 * True where for `forMs` the write lock was never free and no transaction came to its end: somebody is stuck with it.
 * Busy but healthy writers give false, as soon as one of them commits. Throws `Unavailable` where the file cannot be
 * opened.
 */
export async function writeLockHeld(path: string, { forMs, ports = systemPorts }: LockWatch): Promise<boolean> {
  const { clock, timers } = ports;
  try {
    const db = await openDatabase(path);
    try {
      db.exec("PRAGMA busy_timeout = 0");
      const before = changes(db);
      let lookedMs = clock.monotonicMs();
      for (let heldMs = 0; ; ) {
        if (isFree(db) || changes(db) !== before) return false;
        const now = clock.monotonicMs();
        heldMs += Math.min(now - lookedMs, pauseMsMax);
        lookedMs = now;
        if (heldMs >= forMs) return true;
        await sleep(timers, lookEveryMs);
      }
    } finally {
      db.close();
    }
  } catch (error) {
    throw failure(path, error);
  }
}

/** Changes whenever another connection commits (https://www.sqlite.org/pragma.html#pragma_data_version). */
function changes(db: Database): unknown {
  try {
    return db.prepare<{ data_version: number }>("PRAGMA data_version").get()?.data_version;
  } catch (error) {
    if (isBusy(error)) return undefined;
    throw error;
  }
}

function isFree(db: Database): boolean {
  try {
    db.exec("BEGIN IMMEDIATE");
  } catch (error) {
    if (isBusy(error)) return false;
    throw error;
  }
  db.exec("ROLLBACK");
  return true;
}

/**
 * Ids of the processes that hold the file's write lock now: none, or one. Linux only, from /proc/locks; elsewhere, and
 * where another user's processes hide theirs, the list is empty even if the lock is held.
 */
export async function lockHolders(path: string): Promise<number[]> {
  const locks = await readFile("/proc/locks", "utf8").catch(() => "");
  if (locks === "") return [];
  const file = await realpath(path).catch(() => path);
  const holders = new Set<number>();
  for (const { name, ranges } of lockBytes(file)) {
    const inode = await inodeOf(name);
    if (inode === undefined) continue;
    for (const lock of parseLocks(locks)) {
      if (lock.inode !== inode || !ranges.some(([first, last]) => lock.first <= last && lock.last >= first)) continue;
      // Inode numbers are only unique within a device, and file systems disagree on how /proc/locks names theirs.
      if (!holders.has(lock.pid) && (await hasOpen(lock.pid, name))) holders.add(lock.pid);
    }
  }
  return [...holders];
}

/**
 * Which of the processes `among` is stuck with the write lock: held for `forMs` without a commit, by that process at
 * the beginning and at the end. Empty where the store is not blocked, where another process blocks it, and where the
 * system does not say who (then `writeLockHeld` is all there is to go by).
 */
export async function stuckHolders(path: string, among: Iterable<number>, watch: LockWatch): Promise<number[]> {
  const before = new Set(await lockHolders(path));
  if (!(await writeLockHeld(path, watch))) return [];
  const candidates = new Set(among);
  return (await lockHolders(path)).filter((pid) => before.has(pid) && candidates.has(pid));
}

/**
 * The bytes that a writer locks exclusively. In WAL mode they lie in the -shm file (https://www.sqlite.org/walformat.html,
 * "WAL Locks"): 120 write, 122 recover; 128 while the file is made. In the database itself, while the mode changes or
 * the last connection closes: pending, reserved and shared bytes from 0x40000000.
 */
function lockBytes(file: string): { name: string; ranges: [number, number][] }[] {
  return [
    {
      name: `${file}-shm`,
      ranges: [
        [120, 120],
        [122, 122],
        [128, 128],
      ],
    },
    { name: file, ranges: [[0x40000000, 0x40000000 + 511]] },
  ];
}

interface Lock {
  readonly pid: number;
  readonly inode: string;
  readonly first: number;
  readonly last: number;
}

/** Exclusive POSIX locks that are held, not waited for: `7: POSIX  ADVISORY  WRITE 4711 fe:00:1234 120 120`. */
function parseLocks(text: string): Lock[] {
  const locks: Lock[] = [];
  for (const [, pid, inode, first, last] of text.matchAll(
    /^\d+: POSIX +\w+ +WRITE +(\d+) +[0-9a-f]+:[0-9a-f]+:(\d+) +(\d+) +(\d+|EOF)$/gm,
  )) {
    if (Number(pid) > 0) {
      locks.push({
        pid: Number(pid),
        inode: inode!,
        first: Number(first),
        last: last === "EOF" ? Number.POSITIVE_INFINITY : Number(last),
      });
    }
  }
  return locks;
}

/** By name only: opening and closing the file would drop this process's own locks on it. */
async function inodeOf(name: string): Promise<string | undefined> {
  return stat(name, { bigint: true }).then(
    ({ ino }) => ino.toString(),
    () => undefined,
  );
}

async function hasOpen(pid: number, name: string): Promise<boolean> {
  const folder = `/proc/${pid}/fd`;
  const descriptors = await readdir(folder).catch(() => []);
  for (const descriptor of descriptors) {
    if ((await readlink(`${folder}/${descriptor}`).catch(() => "")) === name) return true;
  }
  return false;
}
