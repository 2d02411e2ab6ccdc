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
    isSeeded: name.startsWith('simulation'),
  }));

/** Re-authored cases first, then seeds, then the tests of single parts. */
const RAFT_KILLERS = tests('raft', [
  'scenarios',
  'tables',
  'paper',
  'paper-thesis',
  'simulation',
  'gating',
  'election',
  'replication',
  'log',
  'read-index',
  'snapshot',
  'single-node',
  'membership',
  'membership-joint',
  'membership-leaving',
  'conf-change',
  'transfer',
  'lease',
  'disk-stall',
  'quorum',
  'differential',
  'simulation-membership',
]);

const STORAGE_KILLERS = tests('storage', [
  'wal',
  'wal-writer',
  'files',
  'wal-crash',
  'wal-recovery',
]);

const NODE_KILLERS = tests('node', ['driver', 'replica-parts', 'hostile-moments', 'storm']);

/** Most specific first. */
export function killersOf(file: string): readonly Killer[] {
  if (file.startsWith('packages/raft/')) return RAFT_KILLERS;
  if (file.startsWith('packages/storage/')) return STORAGE_KILLERS;
  return NODE_KILLERS;
}
