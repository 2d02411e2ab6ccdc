/**
 * The tests that may kill a mutant, by package, cheap ones first. They run from the scratch copy as
 * they are; none of them knows of mutants.
 */
export interface Killer {
  /** Compiled test or program, relative to the root. */
  readonly file: string;
  readonly arguments?: readonly string[];
  /** Runs seeded storms: its failure names the seed. */
  readonly isSeeded: boolean;
}

/** The command line: a program with other arguments is another killer. */
export const commandOf = ({ file, arguments: given = [] }: Killer): string =>
  [file, ...given].join(' ');

/** Whole nodes under every fault; also the only killer of `--simulator`. */
export const SIMULATOR: Killer = {
  file: 'jepsen-lite/dist/src/sim/cli.js',
  arguments: ['--seeds', '40', '--first-seed', '1', '--jobs', '1'],
  isSeeded: true,
};

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

/** Repair is decided beside the core: its tests are others. */
const REPAIR_KILLERS = [
  ...tests('raft', ['range-repair', 'repair-storm']),
  ...tests('node', ['log-repair', 'log-repair-sim']),
];

/** Files and replicas that are made whole. */
const HEAL_KILLERS = tests('node', [
  'recovery-manager',
  'divergence',
  'heal-files',
  'heal-start',
  'heal-log-files',
  'wiped-node',
]);

/** The archive, backups, retention and restores. */
const BACKUP_KILLERS = tests('node', [
  'log-archiver',
  'archive-reader',
  'retention',
  'prune',
  'backup-writer',
  'backup-reader',
  'restore-directory',
  'pitr',
]);

const STORAGE_KILLERS = tests('storage', [
  'wal',
  'wal-writer',
  'write-refusals',
  'files',
  'file-repair',
  'hard-state',
  'wal-crash',
  'wal-damage',
  'wal-recovery',
]);

const SHARD_KILLERS = [
  ...tests('shard-worker', ['checkpoint', 'segments', 'engine-model', 'format']),
  ...tests('shard-worker', ['lane-supervision', 'graph-cache']),
  ...tests('node', ['checkpoint-failure', 'lane-loss-sim', 'start-state', 'heal-start']),
];

const NODE_KILLERS = tests('node', [
  'driver',
  'replica-parts',
  'state',
  'hostile-moments',
  'log-repair',
  'wiped-node',
  'compaction-policy',
  'snapshot-staging',
  'snapshot-transfer',
  'membership',
  'exactly-once',
  'lane-loss-sim',
  'lane-loss',
  'log-repair-sim',
  'start-state',
  'storm',
]);

/** Most specific first. */
export function killersOf(file: string): readonly Killer[] {
  if (file.includes('/raft/dist/src/repair/')) return [...REPAIR_KILLERS, SIMULATOR];
  if (file.includes('/node/dist/src/backup/')) return [...BACKUP_KILLERS, SIMULATOR];
  if (file.includes('/node/dist/src/heal/')) return [...HEAL_KILLERS, SIMULATOR];
  if (file.includes('/node/dist/src/recovery/'))
    return [...HEAL_KILLERS, ...NODE_KILLERS, SIMULATOR];
  if (file.startsWith('packages/raft/')) return [...RAFT_KILLERS, SIMULATOR];
  if (file.startsWith('packages/storage/')) return [...STORAGE_KILLERS, ...HEAL_KILLERS, SIMULATOR];
  if (file.startsWith('packages/shard-worker/')) return [...SHARD_KILLERS, SIMULATOR];
  return [...NODE_KILLERS, SIMULATOR];
}
