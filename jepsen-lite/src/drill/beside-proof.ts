/**
 * Collections of a past state come back beside live data while leaders are killed, or the command
 * itself is: by the command that an operator has, on real processes.
 *
 * Promised: what the command calls done is visible and has the content that was backed up; of what
 * failed or was killed nobody sees anything; live collections stay as they are, and every
 * acknowledged write of clients beside it is there in the end.
 */
import { must, SeededRandom } from '@holdfast/base';
import type { HoldfastClient, PointInput } from '@holdfast/client';
import { expectEqualDigests } from '../cluster/agreement.ts';
import type { ProcessCluster } from '../cluster/process-cluster.ts';
import { pause } from '../wait.ts';
import { clusterIdOf } from './archived.ts';
import { makeFullBackup } from './backup-loop.ts';
import { DrillWriter } from './drill-writer.ts';
import { judgeRestored } from './judge-restored.ts';
import { readRestoredRows } from './restored-rows.ts';
import { type CommandEnd, watchCommand } from './watched-command.ts';
import { withClient } from './with-client.ts';

export interface BesideProofOptions {
  /** Formed, of three nodes that archive into `store`; nobody runs. */
  readonly cluster: ProcessCluster;
  readonly store: string;
  readonly seed: number;
  readonly roundCount: number;
  /** Of the collection that comes back. */
  readonly rowCount: number;
  readonly onProgress: (line: string) => void;
}

export interface BesideRound {
  readonly strike: Strike;
  /** The step that had been told when it struck, and how long after it. */
  readonly at: string;
  readonly isStruck: boolean;
  readonly isRestored: boolean;
  /** Hidden collections that it left. */
  readonly leftCount: number;
  /** In words; null: as promised. */
  readonly wrong: string | null;
}

export interface BesideProofReport {
  readonly rounds: readonly BesideRound[];
  readonly acknowledgedCount: number;
  readonly wrong: readonly string[];
}

const STRIKES = ['leader', 'leader twice', 'command'] as const;
type Strike = (typeof STRIKES)[number];

interface StrikePlan {
  readonly strike: Strike;
  /** Of the lines with steps that the command prints. */
  readonly kind: string;
  readonly number: number;
  readonly delayMs: number;
}

/** Of the collection, as the cluster computes it from ids, vectors and payloads. */
interface Contents {
  /** At the backup. */
  readonly past: string;
  readonly backupId: string;
  /** Afterwards: must not change. */
  readonly live: string;
}

const COLLECTION = 'items';
const DIMENSION = 16;
const BATCH_POINT_COUNT = 1_000;
/** As the command tells them. */
const ROWS_PER_LINE = 5_000;
const DELAY_MS_MAX = 150;
const DOWN_MS_MAX = 400;
const COMMAND_TIMEOUT_MS = 240_000;
const WORKER_COUNT = 2;
const WRITE_PAUSE_MS = 20;
const WRITE_TIMEOUT_MS = 240_000;

export async function proveBeside(options: BesideProofOptions): Promise<BesideProofReport> {
  const { cluster, onProgress, rowCount, seed } = options;
  await cluster.startAll();
  await cluster.waitUntilReady();
  const contents = await withClient(cluster, (client) => makeContents(cluster, client, rowCount));
  onProgress(`${rowCount} rows backed up, then changed; content was ${contents.past}`);
  const writer = await DrillWriter.start(cluster.addresses, {
    ...{ seed, workerCount: WORKER_COUNT, timeoutMs: WRITE_TIMEOUT_MS, pauseMs: WRITE_PAUSE_MS },
  });
  const random = new SeededRandom(seed);
  const rounds: BesideRound[] = [];
  for (let number = 1; number <= options.roundCount; number++) {
    const plan = drawStrike(random, rowCount, number);
    const round = await runRound(options, { contents, number, plan, random });
    rounds.push(round);
    onProgress(`round ${number}: ${describeRound(round)}`);
  }
  const stories = await writer.finish();
  const [failure] = writer.failures;
  if (failure !== undefined) throw new Error('a write failed', { cause: failure });
  await expectEqualDigests(cluster);
  const rows = await readRestoredRows(cluster);
  const verdict = judgeRestored(stories, rows, {
    ...{ index: Number.MAX_SAFE_INTEGER, lostAtMs: performance.now() },
  });
  return {
    ...{ rounds, acknowledgedCount: verdict.acknowledgedCount },
    wrong: [
      ...rounds.flatMap(({ wrong }, i) => (wrong === null ? [] : [`round ${i + 1}: ${wrong}`])),
      ...verdict.wrong,
    ],
  };
}

export const describeRound = ({ at, isRestored, isStruck, leftCount, strike }: BesideRound) =>
  `${strike} ${isStruck ? 'killed' : 'to be killed'} at ${at}: ` +
  `${isRestored ? 'restored, as it was' : 'not restored'}, ${leftCount} hidden left`;

/** Rows, a backup of them, and then a bad day: a third overwritten, a third deleted. */
async function makeContents(
  cluster: ProcessCluster,
  client: HoldfastClient,
  rowCount: number,
): Promise<Contents> {
  await client.createCollection({ name: COLLECTION, dimension: DIMENSION, metric: 'l2' });
  const items = client.collection(COLLECTION);
  await items.upsertMany(rowsOf(rowCount, 0), { batchSize: BATCH_POINT_COUNT });
  const past = await client.collections.digest(COLLECTION);
  const leader = must(await cluster.leader(), 'all nodes know a leader');
  const backupId = await makeFullBackup(cluster.addressOf(leader.nodeName));
  if (backupId === null) throw new Error(`no backup was made\n${cluster.describeLogs()}`);
  const third = Math.floor(rowCount / 3);
  await items.upsertMany(rowsOf(third, 1), { batchSize: BATCH_POINT_COUNT });
  for (let id = third; id < 2 * third; id += BATCH_POINT_COUNT) {
    const count = Math.min(BATCH_POINT_COUNT, 2 * third - id);
    await items.delete(Array.from({ length: count }, (_unused, i) => id + i));
  }
  const live = await client.collections.digest(COLLECTION);
  return { past: past.digest, backupId, live: live.digest };
}

function* rowsOf(count: number, version: number): Generator<PointInput> {
  for (let id = 0; id < count; id++) {
    const vector = new Float32Array(DIMENSION).fill(id % 977).fill(version, 0, 1);
    yield { id, vector, payload: { version, id } };
  }
}

/** The kinds of strikes in turn; where, is drawn. */
function drawStrike(random: SeededRandom, rowCount: number, round: number): StrikePlan {
  // The last rows may be told together with the end.
  const rowLines = Math.max(1, Math.floor(rowCount / ROWS_PER_LINE) - 1);
  const drawn = random.nextBelow(rowLines + 3);
  const [kind = 'rows', number = drawn] = (
    [
      ['opened', 1],
      ['created', 1],
      ['compared', 1],
    ] as const
  )[drawn - rowLines] ?? ['rows', drawn + 1];
  const strike = must(STRIKES[(round - 1) % STRIKES.length]);
  return { strike, kind, number, delayMs: random.nextBelow(DELAY_MS_MAX) };
}

interface Round {
  readonly contents: Contents;
  readonly number: number;
  readonly plan: StrikePlan;
  readonly random: SeededRandom;
}

async function runRound(options: BesideProofOptions, round: Round): Promise<BesideRound> {
  const { cluster } = options;
  const { contents, number, plan, random } = round;
  const prefix = `r${number}_`;
  let seenCount = 0;
  const strikes: Promise<void>[] = [];
  const command = watchCommand(argumentsOf(options, prefix, contents.backupId), (line) => {
    if ((JSON.parse(line) as { readonly kind: string }).kind !== plan.kind) return;
    seenCount += 1;
    if (seenCount !== plan.number) return;
    strikes.push(strike(cluster, plan, random, () => command.kill()));
  });
  const end = await command.end;
  await Promise.all(strikes);
  await cluster.waitUntilReady();
  const seen = await withClient(cluster, (client) => look(client, prefix + COLLECTION));
  return {
    ...{ strike: plan.strike, at: `${plan.kind} ${plan.number} + ${plan.delayMs} ms` },
    ...{ isStruck: strikes.length > 0, isRestored: end.exitCode === 0, leftCount: seen.leftCount },
    wrong: wrongOf(end, seen, round),
  };
}

const argumentsOf = (
  { cluster, store }: BesideProofOptions,
  prefix: string,
  backupId: string,
): readonly string[] => [
  ...['restore', 'collections', '--from', store, '--cluster', clusterIdOf(cluster)],
  ...['--target', backupId],
  ...['--collections', COLLECTION, '--target-prefix', prefix, '--publish', '--json'],
  ...['--nodes', cluster.addresses.join(','), '--timeout', String(COMMAND_TIMEOUT_MS)],
];

async function strike(
  cluster: ProcessCluster,
  { delayMs, strike: what }: StrikePlan,
  random: SeededRandom,
  killCommand: () => void,
): Promise<void> {
  await pause(delayMs);
  if (what === 'command') {
    killCommand();
    return;
  }
  for (let left = what === 'leader' ? 1 : 2; left > 0; left--) {
    const leader = must(await cluster.leader(), 'somebody leads');
    await cluster.signal(leader.nodeName, 'SIGKILL');
    await pause(random.nextBelow(DOWN_MS_MAX));
    await cluster.start(leader.nodeName);
    await cluster.waitUntilReady();
  }
}

interface Seen {
  /** Content of the restored collection; null: nobody sees it. */
  readonly restored: string | null;
  readonly live: string;
  readonly leftCount: number;
}

/** Looks, and tidies up: the next round begins as this one did. */
async function look(client: HoldfastClient, name: string): Promise<Seen> {
  const names = (await client.listCollections()).map((one) => one.name);
  const isVisible = names.includes(name);
  const restored = isVisible ? (await client.collections.digest(name)).digest : null;
  const live = (await client.collections.digest(COLLECTION)).digest;
  if (isVisible) await client.dropCollection(name, { retentionMs: 0 });
  const left = (await client.collections.hidden()).filter(
    ({ collection }) => collection.name === name,
  );
  for (const { collection } of left) await client.collections.purge(collection.createdIndex);
  return { restored, live, leftCount: left.length };
}

function wrongOf(end: CommandEnd, seen: Seen, { contents, plan }: Round): string | null {
  if (seen.live !== contents.live) return 'a live collection has changed';
  const { restored } = seen;
  if (restored !== null && restored !== contents.past) return 'it came back as something else';
  if (end.exitCode === 0) return restored === null ? 'done, and nobody sees it' : null;
  // Killed behind its last entry it may be there, whole; whoever can speak must not be wrong.
  if (end.exitCode === null && plan.strike === 'command') return null;
  if (restored !== null) return `it failed, and it is there: ${end.said}`;
  return `it failed although a leader came back: ${end.said}`;
}
