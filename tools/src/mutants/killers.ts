/**
 * The tests that may kill a mutant, by package, cheap ones first. They run from the scratch copy as
 * they are; none of them knows of mutants.
 */
export interface Killer {
  /** Compiled test, relative to the root. */
  readonly file: string;
  /** Runs seeded storms: its failure names the seed. */
  readonly isSeeded: boolean;
}

const tests = (folder: string, names: readonly string[]): readonly Killer[] =>
  names.map((name) => ({
    file: `packages/${folder}/dist/test/${name}.test.js`,
    isSeeded: name === 'simulation',
  }));

/** Re-authored cases first, then seeds, then the tests of single parts. */
const RAFT_KILLERS = tests('raft', [
  'scenarios',
  'tables',
  'paper',
  'simulation',
  'gating',
  'election',
  'replication',
  'log',
  'read-index',
  'snapshot',
  'single-node',
  'membership',
  'quorum',
]);

const STORAGE_KILLERS = tests('storage', [
  'wal',
  'files',
  'hard-state',
  'wal-repair',
  'wal-crash',
  'wal-recovery',
  'wal-damage',
]);

const NODE_KILLERS = tests('node', ['replica-parts', 'hostile-moments', 'storm']);

/** Most specific first. */
export function killersOf(file: string): readonly Killer[] {
  if (file.startsWith('packages/raft/')) return RAFT_KILLERS;
  if (file.startsWith('packages/storage/')) return STORAGE_KILLERS;
  return NODE_KILLERS;
}
