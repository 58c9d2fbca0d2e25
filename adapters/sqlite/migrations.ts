/**
 * The stored format and how a file gets there: `migrations[n]` takes a file from format n to n + 1.
 *
 * Threads and runs have integer keys, so that those of one moment lie side by side: a transaction of 64 commits then
 * writes a handful of pages, where keys of random text would spread over 64. Names carry a prefix because the file may
 * be the user's own.
 */
export const migrations: readonly string[] = [
  `
  CREATE TABLE agentmatic_threads (
    id INTEGER PRIMARY KEY,
    thread TEXT NOT NULL UNIQUE,
    epoch INTEGER NOT NULL,
    nonce TEXT NOT NULL,
    commit_id TEXT,
    seq INTEGER NOT NULL,
    checkpoint_id TEXT,
    run_id TEXT,
    active TEXT,
    tickets INTEGER NOT NULL
  ) STRICT;

  CREATE TABLE agentmatic_runs (
    id INTEGER PRIMARY KEY,
    run TEXT NOT NULL UNIQUE,
    thread INTEGER NOT NULL,
    ticket INTEGER NOT NULL,
    live INTEGER NOT NULL,
    status TEXT NOT NULL,
    coordinator TEXT,
    revision INTEGER NOT NULL,
    lease INTEGER NOT NULL,
    cancel INTEGER NOT NULL,
    state TEXT NOT NULL
  ) STRICT;
  CREATE INDEX agentmatic_runs_thread ON agentmatic_runs (thread, live, ticket);
  CREATE INDEX agentmatic_runs_live ON agentmatic_runs (status, run) WHERE live = 1;

  -- What never changes of a run, apart from what changes at every heartbeat.
  CREATE TABLE agentmatic_specs (
    id INTEGER PRIMARY KEY,
    spec TEXT NOT NULL,
    input BLOB NOT NULL
  ) STRICT;

  -- Not unique by checkpoint_id: that a superstep is committed once follows from the fence, and can be counted.
  CREATE TABLE agentmatic_checkpoints (
    id INTEGER PRIMARY KEY,
    thread INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    ns TEXT NOT NULL,
    checkpoint_id TEXT NOT NULL,
    parent_id TEXT,
    run_id TEXT NOT NULL,
    step INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    versions TEXT NOT NULL,
    body BLOB NOT NULL,
    changed BLOB NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX agentmatic_checkpoints_seq ON agentmatic_checkpoints (thread, seq);
  CREATE INDEX agentmatic_checkpoints_name ON agentmatic_checkpoints (thread, ns, checkpoint_id, seq);

  CREATE TABLE agentmatic_writes (
    thread INTEGER NOT NULL,
    ns TEXT NOT NULL,
    checkpoint_id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    path TEXT NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (thread, ns, checkpoint_id, task_id, kind)
  ) STRICT, WITHOUT ROWID;

  -- turn says who beat last.
  CREATE TABLE agentmatic_members (
    turn INTEGER PRIMARY KEY,
    member TEXT NOT NULL UNIQUE,
    beat INTEGER NOT NULL
  ) STRICT;
  `,
];

export const format: number = migrations.length;

/** Made before all others, and never changed: an older version must be able to read a newer file's format. */
export const metaTable = `
  CREATE TABLE IF NOT EXISTS agentmatic_meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID`;
