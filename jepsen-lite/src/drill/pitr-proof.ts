/**
 * Any moment of a history comes back, through the commands an operator has: clusters of real
 * processes take writes, leaders are killed, full backups are made; then moments are chosen, by
 * index and by time, each is planned and laid by `holdfast restore`, a node is started on it, and
 * its rows are compared with what the writers were told.
 *
 * One node is laid for each target: that all nodes of a plan lay the same is shown elsewhere.
 */
import { SeededRandom } from '@holdfast/base';
import { ProcessCluster } from '../cluster/process-cluster.ts';
import { pause } from '../wait.ts';
import { clusterIdOf, untilArchived } from './archived.ts';
import { makeFullBackup } from './backup-loop.ts';
import { DrillWriter, type WorkerStory } from './drill-writer.ts';
import { LeaderHunter } from './leader-hunter.ts';
import { keepSecret, rebuild, removeDataDirectories } from './rebuild.ts';
import { digestOfRows, readRestoredRows, rowsAt } from './restored-rows.ts';

export interface PitrProofOptions {
  readonly store: string;
  readonly seed: number;
  /** Over all histories. */
  readonly targetCount: number;
  readonly targetsPerHistory: number;
  /** Settings of the clusters, the store among them. */
  readonly settings: Readonly<Record<string, string>>;
  readonly onProgress: (line: string) => void;
  readonly onTarget: (result: TargetResult) => void;
}

export interface TargetResult {
  readonly history: number;
  /** As it was given to the command. */
  readonly target: string;
  /** Where the restored state is, in the log of the history. */
  readonly index: number;
  readonly replayedEntryCount: number;
  readonly rowCount: number;
  /** Of the restored rows. */
  readonly digest: string;
  /** In words; null: as it should be. */
  readonly wrong: string | null;
}

type Target =
  | { readonly kind: 'index'; readonly index: number }
  | { readonly kind: 'time'; readonly wallMs: number };

interface History {
  readonly clusterId: string;
  readonly stories: readonly WorkerStory[];
  /** Of the oldest backup. */
  readonly firstIndex: number;
  readonly lastIndex: number;
  /** Milliseconds since the epoch, after the first backup. */
  readonly moments: readonly number[];
}

const WORKER_COUNT = 3;
const WRITE_PAUSE_MS = 10;
const WRITE_TIMEOUT_MS = 240_000;
const KILLS_PER_HISTORY = 2;
const BACKUP_ATTEMPT_COUNT_MAX = 20;
const MOMENT_INTERVAL_MS = 150;
/** Nodes and this process share a clock, but read it at other times. */
const CLOCK_SLACK_MS = 100;

export async function provePitr(options: PitrProofOptions): Promise<readonly TargetResult[]> {
  const { onProgress, seed, targetCount, targetsPerHistory } = options;
  const random = new SeededRandom(seed);
  const results: TargetResult[] = [];
  // Without a store: what it was restored from is not its own to write to.
  const past = await ProcessCluster.form({ name: 'proof-pitr-past', nodeCount: 1 });
  try {
    const secretPath = keepSecret(past);
    for (let number = 1; results.length < targetCount; number++) {
      const history = await makeHistory(options, number, random);
      const count = Math.min(targetsPerHistory, targetCount - results.length);
      for (const target of chooseTargets(history, random, count)) {
        const result = await restoreTo(options, { past, secretPath, history, number }, target);
        results.push(result);
        options.onTarget(result);
      }
    }
    return results;
  } catch (thrown) {
    onProgress(past.describeLogs());
    throw thrown;
  } finally {
    await past.stop();
  }
}

async function makeHistory(
  { onProgress, seed, settings }: PitrProofOptions,
  number: number,
  random: SeededRandom,
): Promise<History> {
  const cluster = await ProcessCluster.form({ name: 'proof-pitr', settings: { ...settings } });
  try {
    const hunter = new LeaderHunter({
      ...{ cluster, seed: seed + number, places: {} },
      onKill: ({ how, nodeName }) => onProgress(`history ${number}: ${nodeName} killed ${how}`),
    });
    await hunter.launch();
    const writer = await DrillWriter.start(cluster.addresses, {
      ...{ seed: seed + number, workerCount: WORKER_COUNT },
      ...{ timeoutMs: WRITE_TIMEOUT_MS, pauseMs: WRITE_PAUSE_MS },
    });
    const firstIndex = await backUp(cluster);
    const moments: number[] = [];
    for (let kill = 1; kill <= KILLS_PER_HISTORY; kill++) {
      await noteMoments(moments, random);
      await hunter.run(kill);
      await noteMoments(moments, random);
      await backUp(cluster);
    }
    await noteMoments(moments, random);
    const stories = await writer.finish();
    const [failure] = writer.failures;
    if (failure !== undefined) throw new Error('a write failed', { cause: failure });
    const lastIndex = Math.max(...stories.flatMap(({ acknowledged }) => indexesOf(acknowledged)));
    await untilArchived(cluster, lastIndex);
    onProgress(`history ${number}: ${lastIndex} entries, a backup at ${firstIndex} or after`);
    return { clusterId: clusterIdOf(cluster), stories, firstIndex, lastIndex, moments };
  } catch (thrown) {
    onProgress(cluster.describeLogs());
    throw thrown;
  } finally {
    await cluster.stop();
  }
}

const indexesOf = (writes: readonly { readonly index: number }[]): readonly number[] =>
  writes.map(({ index }) => index);

/** An index that is not before it; a leader may die while it is asked. */
async function backUp(cluster: ProcessCluster): Promise<number> {
  for (let attempt = 1; attempt <= BACKUP_ATTEMPT_COUNT_MAX; attempt++) {
    const leader = await cluster.leader();
    if (leader !== null && (await makeFullBackup(cluster.addressOf(leader.nodeName))) !== null) {
      const health = await cluster.health(leader.nodeName);
      if (health !== null) return health.appliedIndex;
    }
    await pause(MOMENT_INTERVAL_MS);
  }
  throw new Error(`no backup could be made\n${cluster.describeLogs()}`);
}

async function noteMoments(moments: number[], random: SeededRandom): Promise<void> {
  for (let i = 0; i < 4; i++) {
    await pause(MOMENT_INTERVAL_MS + random.nextBelow(MOMENT_INTERVAL_MS));
    moments.push(Date.now());
  }
}

/** Half of them by index, half by time. */
function chooseTargets(
  { firstIndex, lastIndex, moments }: History,
  random: SeededRandom,
  count: number,
): readonly Target[] {
  return Array.from({ length: count }, (_, i): Target => {
    const wallMs = moments[random.nextBelow(moments.length)];
    if (i % 2 === 1 && wallMs !== undefined) return { kind: 'time', wallMs };
    return { kind: 'index', index: firstIndex + random.nextBelow(lastIndex - firstIndex + 1) };
  });
}

interface Restoring {
  /** Of one node, which does not run. */
  readonly past: ProcessCluster;
  readonly secretPath: string;
  readonly history: History;
  readonly number: number;
}

async function restoreTo(
  { store }: PitrProofOptions,
  { history, number, past, secretPath }: Restoring,
  target: Target,
): Promise<TargetResult> {
  const text = target.kind === 'index' ? String(target.index) : rfc3339(target.wallMs);
  const flag = target.kind === 'index' ? '--index' : '--point-in-time';
  await past.stopNodes();
  removeDataDirectories(past);
  const rebuilt = await rebuild({
    ...{ cluster: past, store, secretPath },
    target: ['--cluster', history.clusterId, flag, text],
  });
  const rows = await readRestoredRows(past);
  const { index } = rebuilt;
  const digest = digestOfRows(rows);
  const isEqual = digest === digestOfRows(rowsAt(history.stories, index));
  const wrongPlace = wrongIndex(history, target, index);
  return {
    ...{ history: number, target: text, index, rowCount: rows.length, digest },
    replayedEntryCount: Number(/and (\d+) entries of the archive/.exec(rebuilt.said)?.[1] ?? NaN),
    wrong: wrongPlace ?? (isEqual ? null : 'other rows than were acknowledged by then'),
  };
}

const rfc3339 = (wallMs: number): string => new Date(wallMs).toISOString();

/** Whether `index` is where the target leads to, as far as the writers know. */
function wrongIndex({ stories }: History, target: Target, index: number): string | null {
  if (target.kind === 'index') {
    return index === target.index ? null : `index ${index}, not ${target.index}`;
  }
  for (const { acknowledged } of stories) {
    let isSentLater = false;
    for (const write of acknowledged) {
      const acknowledgedMs = performance.timeOrigin + write.acknowledgedAtMs;
      if (acknowledgedMs < target.wallMs - CLOCK_SLACK_MS && write.index > index) {
        return `write ${write.index} was acknowledged before, and is not there`;
      }
      if (isSentLater && write.index <= index) return `write ${write.index} was sent later`;
      // A worker sends the next one after it was told of this one.
      isSentLater ||= acknowledgedMs > target.wallMs + CLOCK_SLACK_MS;
    }
  }
  return null;
}
