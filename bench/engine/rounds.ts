// Interleaved rounds: A B C, A B C, … in one process, so that whatever else the machine does falls on all of them alike.

/** One way to do a workload. `sample` does it some number of times and says what one time cost. */
export interface Contender {
  readonly name: string;
  readonly sample: () => Promise<number>;
  /** Samples at most, where one takes long; before them one less that does not count. */
  readonly samplesMax?: number;
}

export interface Figure {
  readonly name: string;
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly samples: number;
}

export interface Budget {
  readonly rounds: number;
  /** Rounds before the first that counts. */
  readonly warmups: number;
}

export async function measure(contenders: readonly Contender[], { rounds, warmups }: Budget): Promise<Figure[]> {
  const samples = contenders.map((): number[] => []);
  for (let round = -warmups; round < rounds; round++) {
    for (const [index, { sample, samplesMax = Number.POSITIVE_INFINITY }] of contenders.entries()) {
      if (round >= samplesMax || (round < 0 && -round >= samplesMax)) continue;
      const value = await sample();
      if (round >= 0) samples[index]!.push(value);
    }
  }
  return contenders.map(({ name }, index) => figureOf(name, samples[index]!));
}

function figureOf(name: string, samples: readonly number[]): Figure {
  const sorted = [...samples].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
  return { name, median, min: sorted[0]!, max: sorted.at(-1)!, samples: sorted.length };
}

/** Milliseconds that `work` takes. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await work();
  return performance.now() - startMs;
}

/** Milliseconds of one time of `work`, which is done again and again for `forMs`. */
export async function repeated(work: (time: number) => Promise<unknown>, forMs: number): Promise<number> {
  const startMs = performance.now();
  for (let time = 1; ; time++) {
    await work(time);
    const tookMs = performance.now() - startMs;
    if (tookMs >= forMs) return tookMs / time;
  }
}
