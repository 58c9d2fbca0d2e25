/** One run as the job sees it: acknowledged first, ended later. */
export interface StartedRun {
  /** Resolves when the run has ended well, rejects with its error. */
  readonly end: Promise<unknown>;
}

export interface JobOptions {
  readonly mails: readonly number[];
  /** Runs under way at once. */
  readonly inFlight: number;
  /** Resolves when one more run may be started beside or after so many. */
  readonly room: (started: number) => Promise<void>;
  /** Resolves once the run is accepted: from then on it may not be lost. */
  readonly start: (index: number) => Promise<StartedRun>;
  /** Called after each end, good or bad, with the number of runs ended so far. */
  readonly onEnd: (ended: number) => void;
}

export interface JobResult {
  /** Mails whose run was acknowledged. */
  readonly accepted: readonly number[];
  /** What went wrong, by mail; refused ones too. */
  readonly failures: ReadonlyMap<number, Error>;
  readonly seconds: number;
}

/** Submits one run a mail and waits for them all, so many at once. Never throws for a single run's failure. */
export async function runJob(options: JobOptions): Promise<JobResult> {
  const accepted: number[] = [];
  const failures = new Map<number, Error>();
  const rest = options.mails.values();
  const began = performance.now();
  let started = 0;
  let ended = 0;
  const submitter = async () => {
    for (const index of rest) {
      await options.room(started++);
      try {
        const run = await options.start(index);
        accepted.push(index);
        await run.end;
      } catch (error) {
        failures.set(index, error instanceof Error ? error : new Error(String(error)));
      }
      options.onEnd(++ended);
    }
  };
  await Promise.all(Array.from({ length: Math.min(options.inFlight, options.mails.length) }, submitter));
  return { accepted, failures, seconds: (performance.now() - began) / 1000 };
}
