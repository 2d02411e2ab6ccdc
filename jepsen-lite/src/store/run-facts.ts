/**
 * `run.json`: what a run was, written before it begins, so that a run that never ended still says
 * how to do it again. What is read back comes from a disk and is checked field by field.
 */

/** A kind of fault of the run. */
export interface NemesisFact {
  readonly name: string;
  /** `#rrggbb`; the reports choose one when there is none. */
  readonly colour?: string;
}

export interface RunFacts {
  readonly formatVersion: 1;
  readonly workload: string;
  /** Empty: a run without faults. */
  readonly nemeses: readonly NemesisFact[];
  readonly seed: number;
  readonly nodeNames: readonly string[];
  /** How the nodes run: 'process', 'netns', 'sim'. */
  readonly cluster: string;
  /** A worker is `processId % workerCount`. */
  readonly workerCount: number;
  /** As asked for; the history says how long it took. */
  readonly durationMs: number;
  readonly commit: string;
  /** ISO 8601, UTC. */
  readonly startedAt: string;
  /** The one line that does it again. */
  readonly reproduceLine: string;
  /** Whatever else decides what happens; for people. */
  readonly settings: Readonly<Record<string, unknown>>;
}

/** More is a mistake, and would give a page that nobody can scroll. */
export const WORKER_COUNT_MAX = 1_024;

/** Null: the value is no description of a run that this version can read. */
export function parseRunFacts(value: unknown): RunFacts | null {
  if (!isRecord(value) || value.formatVersion !== 1) return null;
  const texts = [value.workload, value.cluster, value.commit, value.startedAt, value.reproduceLine];
  if (!texts.every((text) => typeof text === 'string')) return null;
  const { durationMs, nemeses, nodeNames, seed, settings, workerCount } = value;
  if (typeof seed !== 'number' || typeof durationMs !== 'number') return null;
  if (!Number.isInteger(workerCount)) return null;
  if (Number(workerCount) < 1 || Number(workerCount) > WORKER_COUNT_MAX) return null;
  if (!Array.isArray(nodeNames) || !nodeNames.every((name) => typeof name === 'string'))
    return null;
  if (!Array.isArray(nemeses) || !nemeses.every(isNemesisFact)) return null;
  if (!isRecord(settings) || Number.isNaN(Date.parse(String(value.startedAt)))) return null;
  return value as unknown as RunFacts;
}

function isNemesisFact(value: unknown): boolean {
  if (!isRecord(value) || typeof value.name !== 'string') return false;
  return value.colour === undefined || typeof value.colour === 'string';
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
