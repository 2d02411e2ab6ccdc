/**
 * What a timeline page holds, as it stands in the page: the border between the harness, which makes
 * it, and the script of the page, which draws it. Columns instead of objects: a hundred thousand
 * operations take a third of the bytes.
 */

export type PageOutcome = 'ok' | 'fail' | 'info';

/** One entry per operation in every column, in the order of their begin. */
export interface OperationColumns {
  readonly processIds: readonly number[];
  /** Position in `laneNames`. */
  readonly lanes: readonly number[];
  /** Since the begin of the operation before, in hundredths of a millisecond. */
  readonly beginSteps: readonly number[];
  /** In hundredths of a millisecond; -1: its end was never told. */
  readonly lengths: readonly number[];
  /** From when it was to begin until it began, in hundredths of a millisecond. */
  readonly delays: readonly number[];
  /** One letter each: o(k), f(ail), i(nfo). */
  readonly outcomes: string;
  /** Positions in `texts`: what it was, and the code of its error (0: none). */
  readonly textIds: readonly number[];
  readonly errorIds: readonly number[];
}

export interface PageBand {
  readonly nemesis: string;
  readonly colour: string;
  readonly action: string;
  readonly isIndeterminate: boolean;
  readonly targets: string;
  readonly detail: string;
  readonly fromMs: number;
  /** Null: it was never healed. */
  readonly toMs: number | null;
  /** Operations that ended in it. */
  readonly counts: Readonly<Record<PageOutcome, number>>;
}

export interface PageSkip {
  readonly nemesis: string;
  readonly action: string;
  readonly detail: string;
  readonly timeMs: number;
}

/** Of all operations by the time of their end, also of those that are not drawn. */
export interface PageBuckets {
  readonly widthMs: number;
  readonly ok: readonly number[];
  readonly fail: readonly number[];
  readonly info: readonly number[];
  /** Latencies of `ok` in milliseconds; null: there was none. */
  readonly p50: readonly (number | null)[];
  readonly p99: readonly (number | null)[];
  readonly max: readonly (number | null)[];
}

export interface PageAnomaly {
  readonly checker: string;
  readonly text: string;
  /** Null: the checker names no time and no operation. */
  readonly fromMs: number | null;
  readonly toMs: number | null;
  /** The moment at which it shows. */
  readonly atMs: number | null;
  /** Positions in the columns. */
  readonly operations: readonly number[];
}

export interface PageChart {
  readonly name: string;
  readonly unit: string;
  readonly lines: readonly {
    readonly owner: string;
    readonly points: readonly (readonly [timeMs: number, value: number])[];
  }[];
}

export interface PageData {
  readonly endMs: number;
  readonly laneNames: readonly string[];
  readonly nemeses: readonly string[];
  readonly texts: readonly string[];
  readonly operations: OperationColumns;
  readonly bands: readonly PageBand[];
  readonly skips: readonly PageSkip[];
  readonly buckets: PageBuckets;
  readonly anomalies: readonly PageAnomaly[];
  readonly charts: readonly PageChart[];
}
