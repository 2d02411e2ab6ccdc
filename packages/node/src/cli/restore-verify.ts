/**
 * `holdfast restore verify|status`: whether a cluster that was restored is the one of its plan, on
 * every node the same, and has the counts and digests of its backup, or, with `--replay`, of the
 * state that backup and archive lead to.
 */
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { must } from '@holdfast/base';
import { createEntryHasher, NodeFileSystem } from '@holdfast/storage';
import type { Command } from 'commander';
import { backupOfPlan, type RestoreStore } from '../backup/restore/plan-from-store.ts';
import type { RestorePlan } from '../backup/restore/restore-plan.ts';
import { readRestorePlan, restorePlanDigest } from '../backup/restore/restore-plan.ts';
import { type RestoreState, readRestored } from '../backup/restore/restored-record.ts';
import type { RestoreOrder, RestoresStatus } from '../backup/restore/restores-api.ts';
import { readRestoring } from '../backup/restore/restoring-marker.ts';
import { withThrowawayState } from '../backup/restore/throwaway-state.ts';
import type { ClusterStatusBody } from '../server/http-routes.ts';
import type { CollectionState, CollectionStates } from '../state/collection-state.ts';
import { SYSTEM_CLOCK } from '../system-time.ts';
import { askNode } from './ask-node.ts';
import { addClientFlags, type ClientFlags, nodeAddresses } from './client-flags.ts';
import { abortWhenStopped, type CliIo, EXIT_FAILED, ExitWith, UsageError } from './io.ts';
import { addStoreFlags, type StoreFlags, withStore } from './store-flags.ts';

const TIMEOUT_MS = '60000';

interface VerifyFlags extends ClientFlags, StoreFlags {
  readonly plan: string;
  readonly replay?: boolean;
  readonly scratch?: string;
}

interface StatusFlags extends ClientFlags {
  readonly dataDir?: string;
}

export function addRestoreVerify(restore: Command, io: CliIo): void {
  const verifyCommand = restore
    .command('verify')
    .description('compare a restored cluster, once it runs, with its plan and its backup')
    .requiredOption('--plan <FILE>', 'made by restore plan')
    .option('--replay', 'replay the archive here too, and compare with what comes of it')
    .option('--scratch <DIR>', 'where that works; default: the place for temporary files');
  addStoreFlags(addClientFlags(verifyCommand, TIMEOUT_MS)).action((flags: VerifyFlags) =>
    verify(flags, io),
  );
  addClientFlags(
    restore
      .command('status')
      .description('what the directories of nodes were restored from')
      .option('--data-dir <DIR>', 'of a node that does not run, instead of asking running ones'),
    TIMEOUT_MS,
  ).action((flags: StatusFlags) => status(flags, io));
}

interface NodeView {
  readonly address: string;
  readonly status: ClusterStatusBody;
  readonly restore: RestoreState;
  readonly states: CollectionStates;
}

async function verify(flags: VerifyFlags, io: CliIo): Promise<void> {
  const fileSystem = new NodeFileSystem();
  if (!fileSystem.exists(flags.plan)) throw new UsageError(`--plan: there is no ${flags.plan}`);
  const plan = readRestorePlan(fileSystem, flags.plan);
  const views: NodeView[] = [];
  for (const address of nodeAddresses(flags, io)) views.push(await viewOf(address, flags, io));
  const wrong = [...views.flatMap((view) => wrongOf(view, plan)), ...unequal(views)];
  const compared = await compareWithStore(flags, io, plan, views[0]);
  for (const line of compared.lines) io.out(`  ${line}\n`);
  wrong.push(...compared.wrong);
  for (const line of wrong) io.out(`WRONG: ${line}\n`);
  if (wrong.length > 0) throw new ExitWith(EXIT_FAILED);
  io.out(`${views.length} nodes are the cluster of plan ${restorePlanDigest(plan).slice(0, 16)}\n`);
}

async function viewOf(address: string, flags: VerifyFlags, io: CliIo): Promise<NodeView> {
  const ask = <Body>(path: string): Promise<Body> =>
    askNode<Body>(flags, io, { address, path, method: 'GET', timeoutMs: TIMEOUT_MS });
  return {
    address,
    status: await ask<ClusterStatusBody>('/api/v1/cluster/status'),
    restore: await ask<RestoreState>('/api/v1/admin/restore/status'),
    states: await ask<CollectionStates>('/api/v1/collections'),
  };
}

function wrongOf({ address, restore, states, status }: NodeView, plan: RestorePlan): string[] {
  const wrong: string[] = [];
  if (status.clusterId !== plan.clusterId) {
    wrong.push(`${address} is of cluster ${status.clusterId}, the plan makes ${plan.clusterId}`);
  }
  if (restore.phase !== 'done') wrong.push(`${address} was not restored: ${restore.phase}`);
  else if (restore.restored.planDigest !== restorePlanDigest(plan)) {
    const other = restore.restored.planDigest.slice(0, 16);
    wrong.push(`${address} was restored by another plan, ${other}`);
  }
  if (states.appliedIndex < plan.parent.index) {
    const { index } = plan.parent;
    wrong.push(`${address} stands at index ${states.appliedIndex}, before the target ${index}`);
  }
  return wrong;
}

/** Nodes at one index have one state. At other indexes nothing can be said. */
function unequal(views: readonly NodeView[]): string[] {
  const wrong: string[] = [];
  const first = new Map<number, NodeView>();
  for (const view of views) {
    const { appliedIndex, digest } = view.status.stateDigest;
    const known = first.get(appliedIndex);
    if (known === undefined) first.set(appliedIndex, view);
    else if (known.status.stateDigest.digest !== digest) {
      wrong.push(`${known.address} and ${view.address} differ at index ${appliedIndex}`);
    }
  }
  return wrong;
}

interface Compared {
  readonly lines: readonly string[];
  readonly wrong: readonly string[];
}

/**
 * Nothing may have been written since. Without `--replay` it is exact only where nothing was
 * replayed behind the backup.
 */
async function compareWithStore(
  flags: VerifyFlags,
  io: CliIo,
  plan: RestorePlan,
  view: NodeView | undefined,
): Promise<Compared> {
  if (view === undefined) return { lines: [], wrong: ['no node was named'] };
  return withStore(flags, io, async ({ sealing, sink }) => {
    const store = { sink, sealing, hasher: createEntryHasher() };
    const { collections } = view.states;
    if (flags.replay === true) {
      const replayed = await replayedStates(store, plan, flags, io);
      return compare(replayed, collections, 'replayed', true);
    }
    const { manifest } = await backupOfPlan(store, plan);
    const replayedCount = plan.parent.index - plan.backupIndex;
    const isExact = replayedCount === 0;
    const compared = compare(manifest.collections, collections, 'in the backup', isExact);
    if (isExact) return compared;
    const more = `${replayedCount} entries were replayed behind the backup: see --replay`;
    return { ...compared, lines: [...compared.lines, more] };
  });
}

type Counted = Pick<CollectionState, 'digest' | 'name' | 'uid' | 'vectorCount'>;

function compare(
  expected: readonly Counted[],
  actual: readonly Counted[],
  where: string,
  isExact: boolean,
): Compared {
  const lines: string[] = [];
  const wrong: string[] = [];
  const uids = new Set([...expected, ...actual].map(({ uid }) => uid));
  for (const uid of [...uids].sort((left, right) => left - right)) {
    const saved = expected.find((one) => one.uid === uid);
    const now = actual.find((one) => one.uid === uid);
    const isEqual = saved?.digest === now?.digest && saved?.vectorCount === now?.vectorCount;
    const name = saved?.name ?? now?.name ?? '';
    const counts = `${saved?.vectorCount ?? 'none'} ${where}, ${now?.vectorCount ?? 'none'} now`;
    const verdict = isEqual ? 'equal, digests too' : 'different';
    lines.push(`collection ${name}: ${counts}: ${verdict}`);
    if (!isEqual && isExact) wrong.push(`collection ${name}: ${counts}, digests differ`);
  }
  return { lines, wrong };
}

/** All rows of the state are in memory meanwhile. */
function replayedStates(
  store: RestoreStore,
  plan: RestorePlan,
  { scratch = tmpdir() }: VerifyFlags,
  io: CliIo,
): Promise<readonly Counted[]> {
  const directory = join(resolve(scratch), `holdfast-verify-${randomBytes(16).toString('hex')}`);
  io.err(`the state of the plan is laid in ${directory} for the time\n`);
  const { nodeId } = must(plan.members[0], 'a plan has members');
  return withThrowawayState(
    {
      ...{ store, plan, nodeId, directory, names: null, clock: SYSTEM_CLOCK },
      ...{ fileSystem: new NodeFileSystem(), signal: abortWhenStopped(io) },
      pause: () => new Promise((resolved) => setImmediate(resolved)),
    },
    (state) => state.states(),
  );
}

async function status(flags: StatusFlags, io: CliIo): Promise<void> {
  if (flags.dataDir !== undefined) {
    io.out(`${flags.dataDir}: ${describe(stateIn(flags.dataDir))}\n`);
    return;
  }
  for (const address of nodeAddresses(flags, io)) {
    const path = '/api/v1/admin/restore/status';
    const question = { address, path, method: 'GET', timeoutMs: TIMEOUT_MS };
    const page = await askNode<RestorePage>(flags, io, question);
    io.out(`${address}: ${describe(page)}\n`);
    for (const line of describeCollections(page.collections)) io.out(`  ${line}\n`);
  }
}

type RestorePage = RestoreState & { readonly collections: RestoresStatus };

function describeCollections({ newest, underWay }: RestoresStatus): readonly string[] {
  const named = ({ collections, prefix, restoreId, target }: RestoreOrder): string =>
    `${collections.join(', ')} of ${target} as ${prefix}... (restore ${restoreId})`;
  const lines = newest.map((record) => {
    const { outcome } = record;
    if (outcome.kind === 'failure') {
      const { code, message } = outcome.error;
      return `${named(record)}: failed: ${code}: ${message}`;
    }
    const pointCount = outcome.made.reduce((sum, made) => sum + made.pointCount, 0);
    return `${named(record)}: done, ${pointCount} points`;
  });
  if (underWay === null) return lines;
  const { phase, pointCount, progressPercent } = underWay;
  return [`${named(underWay)}: ${phase} ${progressPercent} %, ${pointCount} points`, ...lines];
}

function stateIn(directory: string): RestoreState {
  const fileSystem = new NodeFileSystem();
  const marker = readRestoring(fileSystem, directory);
  if (marker !== null) {
    const { failedCount, planDigest } = marker;
    return { phase: 'unfinished', planDigest, failedCount };
  }
  const restored = readRestored(fileSystem, directory);
  if (restored === null) return { phase: 'none' };
  return { phase: 'done', progressPercent: 100, restored };
}

function describe(state: RestoreState): string {
  if (state.phase === 'none') return 'not restored';
  if (state.phase === 'unfinished') {
    const { failedCount, planDigest } = state;
    const plan = planDigest.slice(0, 16);
    return `unfinished, plan ${plan}, ${failedCount} attempts before: run it again`;
  }
  const { backupId, durationMs, entryCount, failedCount, sizeBytes, startedMs, targetIndex } =
    state.restored;
  const when = new Date(startedMs).toISOString();
  return (
    `restored ${when} in ${(durationMs / 1_000).toFixed(1)} s from backup ${backupId} ` +
    `(${sizeBytes} bytes) and ${entryCount} entries, to index ${targetIndex}, plan ` +
    `${state.restored.planDigest.slice(0, 16)}, ${failedCount} failed attempts`
  );
}
