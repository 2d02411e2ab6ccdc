/**
 * Goal: any moment of any history comes back exactly. Method: random histories on simulated nodes,
 * archived and backed up into a folder through the shipped code; random targets by index and by
 * time, planned from the store, laid, started, and compared with a model and with the digests that
 * the nodes had then. Some restored clusters go on, and are restored in their turn.
 *
 * HOLDFAST_PITR_RUNS says how many histories, HOLDFAST_TEST_SEED which; HOLDFAST_PITR_SEED runs the
 * one that a failure names.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deriveSeed, HoldfastError, must, SeededRandom } from '@holdfast/base';
import { VirtualClock } from '@holdfast/base/testing';
import { MemoryFileSystem } from '@holdfast/storage/testing';
import t from 'tap';
import type { RestoreTarget } from '../src/backup/archive/archive-target.ts';
import { backupSource } from '../src/backup/restore/backup-source.ts';
import { layDirectory } from '../src/backup/restore/lay-directory.ts';
import {
  archiveOfPlan,
  backupOfPlan,
  beginRestoredTimeline,
} from '../src/backup/restore/plan-from-store.ts';
import type { RestorePlan } from '../src/backup/restore/restore-plan.ts';
import { LocalSink } from '../src/backup/sinks/local-sink.ts';
import { SimCluster } from '../src/testing/sim-cluster.ts';
import { DATA_DIRECTORY } from '../src/testing/sim-node.ts';
import { PitrHistory, readRows, SMALL_WAL, sortedRows } from './support/pitr-history.ts';
import { shardDigests } from './support/restored.ts';
import { TEST_ENVIRONMENT } from './support/sink-suite.ts';

// Hundreds of histories take minutes: no time limit of the test runner.
t.setTimeout(0);

const RUN_COUNT = Number(process.env.HOLDFAST_PITR_RUNS ?? 20);
const FIRST_SEED = Number(process.env.HOLDFAST_TEST_SEED ?? 41);
/** Of each history. */
const TARGET_COUNT = 2;
const ONE_SEED = process.env.HOLDFAST_PITR_SEED;

const counts = { histories: 0, restored: 0, refused: 0, byTime: 0, branches: 0, leaderChanges: 0 };

/** Differences in words, empty when the restore is what it should be. */
type Problems = string[];

async function layAndStart(history: PitrHistory, plan: RestorePlan): Promise<SimCluster> {
  const { store } = history;
  const { manifest, reader } = await backupOfPlan(store, plan);
  const fileSystem = new MemoryFileSystem();
  await layDirectory({
    ...{ fileSystem, directory: DATA_DIRECTORY, plan, nodeId: 'n1', hasher: store.hasher },
    source: backupSource(reader, manifest, fileSystem),
    archive: archiveOfPlan(store, plan),
    ...{ wal: SMALL_WAL, clock: new VirtualClock() },
  });
  fileSystem.crash({ seed: 1, keepUnsynced: 'none' });
  const cluster = new SimCluster({ nodeCount: 1, seed: 1, wal: SMALL_WAL });
  cluster.node(0).fileSystem = fileSystem;
  await cluster.start();
  return cluster;
}

/** A target anywhere, and the index that it must lead to. */
function someTarget(history: PitrHistory, random: SeededRandom) {
  const index = 1 + random.nextBelow(history.lastIndex);
  const choice = random.nextBelow(8);
  if (choice === 0) return { target: { kind: 'latest' }, index: history.lastIndex } as const;
  if (choice < 4) return { target: { kind: 'index', index }, index } as const;
  const timestampMs = history.logTimeMs(index) + random.nextBelow(3) - 1;
  return { target: { kind: 'time', timestampMs }, index: history.indexAt(timestampMs) } as const;
}

/** The cluster that was restored; null when the target must be, and was, refused. */
async function restore(
  history: PitrHistory,
  wish: { readonly target: RestoreTarget; readonly index: number },
  problems: Problems,
): Promise<{ readonly cluster: SimCluster; readonly plan: RestorePlan } | null> {
  const { index, target } = wish;
  const what = JSON.stringify(target);
  if (index < history.firstBackupIndex) {
    const failure = await history.plan(target).then(
      () => null,
      (thrown: unknown) => thrown,
    );
    const isRefusal = failure instanceof HoldfastError && failure.code === 'RESTORE_TARGET';
    if (!isRefusal) problems.push(`${what} before the first backup: ${failure}`);
    counts.refused += 1;
    return null;
  }
  const { plan } = await history.plan(target);
  if (plan.parent.index !== index) problems.push(`${what}: ${plan.parent.index}, not ${index}`);
  const cluster = await layAndStart(history, plan);
  const leader = await cluster.leader();
  const wanted = history.stateAt(index);
  const rows = sortedRows(await readRows(cluster, leader));
  if (rows !== sortedRows(wanted.rows)) problems.push(`${what} at ${index}: rows ${rows}`);
  const digests = await shardDigests(cluster, leader);
  if (digests !== wanted.digests) problems.push(`${what} at ${index}: digests ${digests}`);
  counts.restored += 1;
  if (target.kind === 'time') counts.byTime += 1;
  return { cluster, plan };
}

async function check(history: PitrHistory, random: SeededRandom, problems: Problems, depth = 0) {
  counts.leaderChanges += history.leaderChangeCount;
  for (let i = 0; i < TARGET_COUNT; i++) {
    const made = await restore(history, someTarget(history, random), problems);
    if (made === null) continue;
    const { cluster, plan } = made;
    if (depth < 2 && random.nextBelow(6) === 0) {
      await beginRestoredTimeline(history.store, plan);
      const child = history.branch(cluster, plan);
      await child.grow(4 + random.nextBelow(8));
      counts.branches += 1;
      await check(child, random, problems, depth + 1);
    }
    for (const node of cluster.nodes) if (node.isRunning) node.kill();
  }
}

async function runHistory(folder: string, seed: number): Promise<Problems> {
  mkdirSync(folder);
  const random = new SeededRandom(seed);
  const sink = new LocalSink({ folder, isMountRequired: false }, TEST_ENVIRONMENT);
  const problems: Problems = [];
  try {
    const history = await PitrHistory.begin(sink, random);
    await history.grow(8 + random.nextBelow(25));
    await check(history, random, problems);
    history.close();
    counts.histories += 1;
  } catch (thrown) {
    problems.push(thrown instanceof Error ? String(thrown.stack) : String(thrown));
  }
  await sink.close();
  rmSync(folder, { recursive: true, force: true });
  return problems;
}

t.test('any moment of any history comes back exactly, or is refused by name', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'holdfast-pitr-'));
  t.teardown(() => rmSync(root, { recursive: true, force: true }));
  const seeds =
    ONE_SEED === undefined
      ? Array.from({ length: RUN_COUNT }, (_, i) => deriveSeed(FIRST_SEED, `history ${i}`))
      : [Number(ONE_SEED)];
  for (const seed of seeds) {
    const problems = await runHistory(join(root, String(seed)), seed);
    if (problems.length > 0)
      t.fail(`HOLDFAST_PITR_SEED=${seed}: ${must(problems[0])}`, { problems });
  }
  t.comment(`first seed ${FIRST_SEED}: ${JSON.stringify(counts)}`);
  t.equal(counts.histories, seeds.length);
  t.ok(ONE_SEED !== undefined || counts.restored > seeds.length, `${counts.restored} restored`);
});
