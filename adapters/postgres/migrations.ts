/**
 * The stored format and how a schema gets there: `migrations[n]` takes it from format n to n + 1.
 *
 * Ids are `COLLATE "C"`: equal order on every server, whatever its locale, and the order in which batches lock (P18).
 */
export type Migration = (schema: string) => string;

const first: Migration = (schema) => `
  CREATE TABLE ${schema}.threads (
    thread_id text COLLATE "C" PRIMARY KEY,
    epoch bigint NOT NULL,
    -- '' while nobody holds the thread.
    nonce text COLLATE "C" NOT NULL,
    commit_id text COLLATE "C",
    seq bigint NOT NULL,
    checkpoint_id text COLLATE "C",
    run_id text COLLATE "C",
    active_run text COLLATE "C",
    -- Runs that are not finished behind the active one: says whether an end must find a successor.
    waiting integer NOT NULL,
    tickets bigint NOT NULL
    -- Every commit updates a row: room for new versions on the same page spares the index (HOT).
  ) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.05);

  CREATE TABLE ${schema}.runs (
    run_id text COLLATE "C" PRIMARY KEY,
    thread_id text COLLATE "C" NOT NULL,
    ticket bigint NOT NULL,
    status text COLLATE "C" NOT NULL,
    revision bigint NOT NULL,
    attempt bigint NOT NULL,
    poison bigint NOT NULL,
    owner text COLLATE "C",
    coordinator text COLLATE "C",
    lease bigint NOT NULL,
    claim_seq bigint,
    base_set boolean NOT NULL,
    base text COLLATE "C",
    cancel_requested boolean NOT NULL,
    outcome bytea,
    history bytea NOT NULL
  ) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
  CREATE INDEX runs_status ON ${schema}.runs (status, run_id);
  CREATE INDEX runs_thread ON ${schema}.runs (thread_id, ticket);

  -- What never changes of a run, apart from what changes at every heartbeat.
  CREATE TABLE ${schema}.specs (
    run_id text COLLATE "C" PRIMARY KEY,
    from_checkpoint_id text COLLATE "C",
    spec bytea NOT NULL,
    input bytea NOT NULL
  );

  -- Not unique by checkpoint_id: that a superstep is committed once follows from the fence, and can be counted.
  CREATE TABLE ${schema}.checkpoints (
    thread_id text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    epoch bigint NOT NULL,
    ns text COLLATE "C" NOT NULL,
    checkpoint_id text COLLATE "C" NOT NULL,
    parent_id text COLLATE "C",
    run_id text COLLATE "C" NOT NULL,
    step bigint NOT NULL,
    versions bytea NOT NULL,
    -- The other commits that the versions name: where the unchanged channels' values are.
    sources bigint[] NOT NULL,
    changed bytea NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (thread_id, seq)
  );
  CREATE INDEX checkpoints_name ON ${schema}.checkpoints (thread_id, ns, checkpoint_id, seq);

  CREATE TABLE ${schema}.writes (
    thread_id text COLLATE "C" NOT NULL,
    ns text COLLATE "C" NOT NULL,
    checkpoint_id text COLLATE "C" NOT NULL,
    task_id text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    path text COLLATE "C" NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (thread_id, ns, checkpoint_id, task_id, kind)
  );

  CREATE SEQUENCE ${schema}.turns;
  -- turn says who beat last.
  CREATE TABLE ${schema}.members (
    member_id text COLLATE "C" PRIMARY KEY,
    beat bigint NOT NULL,
    turn bigint NOT NULL
  ) WITH (fillfactor = 50);`;

export const migrations: readonly Migration[] = [first];

export const format: number = migrations.length;

/**
 * One statement, so one transaction, that takes a schema from any older format to this one; a newer one it leaves alone.
 * Those who come at the same time wait at the lock and then find it done. What is there already needs no privilege.
 */
export function setupStatement(name: string, storeId: string, zone: string, region: string): string {
  const schema = `"${name}"`;
  const steps = migrations.map((sql, at) => `IF stored <= ${at} THEN ${sql(schema)}\nEND IF;`).join("\n");
  return `DO $setup$
DECLARE stored integer := 0;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtextextended(${literal(`agentmatic ${name}`)}, 0));
  IF to_regnamespace(${literal(schema)}) IS NULL THEN CREATE SCHEMA ${schema}; END IF;
  IF to_regclass(${literal(`${schema}.meta`)}) IS NULL THEN
    -- Never changed: an older version must be able to read a newer one's format.
    CREATE TABLE ${schema}.meta (
      one boolean PRIMARY KEY DEFAULT true CHECK (one),
      format integer NOT NULL,
      store_id text COLLATE "C" NOT NULL,
      zone text COLLATE "C" NOT NULL,
      region text COLLATE "C" NOT NULL
    );
    INSERT INTO ${schema}.meta VALUES (true, 0, ${literal(storeId)}, ${literal(zone)}, ${literal(region)});
  END IF;
  SELECT m.format INTO stored FROM ${schema}.meta m;
  ${steps}
  UPDATE ${schema}.meta m SET format = ${format} WHERE m.format < ${format};
END
$setup$`;
}

function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
