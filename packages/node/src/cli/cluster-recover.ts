/** `holdfast cluster recover`: a new cluster from what survived a lost quorum. Offline. */
import { HoldfastError, isNodeId, type NodeId } from '@holdfast/base';
import {
  createEntryHasher,
  findLockHolder,
  lockDataDirectory,
  NodeFileSystem,
} from '@holdfast/storage';
import type { Command } from 'commander';
import { fetchHealth } from '../cluster/leader-watch.ts';
import { type Column, renderTable } from '../cluster/table.ts';
import type { RecoveryRecord } from '../quorum-loss/carry-out.ts';
import {
  carryOut,
  checkKeptEntries,
  recordOf,
  unfinishedRecovery,
} from '../quorum-loss/carry-out.ts';
import type { RecoveryPlan } from '../quorum-loss/plan.ts';
import { planRecovery } from '../quorum-loss/plan.ts';
import type { Survivor } from '../quorum-loss/survivor.ts';
import { readSurvivor } from '../quorum-loss/survivor.ts';
import { type CliIo, UsageError } from './io.ts';

interface RecoverFlags {
  readonly survivor: readonly string[];
  readonly dead?: string;
  readonly plan?: boolean;
  readonly dryRun?: boolean;
  readonly do?: boolean;
}

/** A node that is alive answers within milliseconds. */
const HEALTH_TIMEOUT_MS = 2_000;

export function registerRecover(cluster: Command, io: CliIo): void {
  cluster
    .command('recover')
    .description(
      'after a quorum is lost for good: go on with one survivor, in a new epoch (offline)',
    )
    .requiredOption(
      '--survivor <DIR>',
      'data directory of a stopped node that survived; repeat for each',
      (value: string, previous: readonly string[]) => [...previous, value.replace(/(.)\/+$/, '$1')],
      [],
    )
    .option('--dead <ID,...>', 'every other member: you declare that it will never come back')
    .option('--plan', 'say what would be kept and what may be lost; reads only')
    .option('--dry-run', 'as --plan, and read everything that would be kept; writes nothing')
    .option('--do', 'do it; may be cut off and run again')
    .action((flags: RecoverFlags) => recover(flags, io));
}

async function recover(flags: RecoverFlags, io: CliIo): Promise<void> {
  const modes = [flags.plan, flags.dryRun, flags.do].filter((mode) => mode === true);
  if (modes.length !== 1) throw new UsageError('pass one of --plan, --dry-run and --do');
  if (flags.survivor.length === 0) throw new UsageError('--survivor: name at least one directory');
  const fileSystem = new NodeFileSystem();
  for (const directory of flags.survivor) refuseRunning(fileSystem, directory);
  const unfinished = flags.survivor.find((each) => unfinishedRecovery(fileSystem, each) !== null);
  if (unfinished !== undefined) {
    await goOn(fileSystem, unfinished, flags, io);
    return;
  }
  const survivors = flags.survivor.map((directory) => readSurvivor(fileSystem, directory));
  const answering = await whoAnswers(survivors);
  const plan = planRecovery({ survivors, dead: parseDead(flags.dead), answering });
  for (const line of describePlan(plan)) io.out(`${line}\n`);
  if (flags.plan === true) return;
  const record = recordOf(plan, new Date().toISOString());
  const { directory } = plan.keeper;
  if (flags.dryRun === true) {
    const count = checkKeptEntries(fileSystem, directory, record);
    io.out(`dry run: ${count} log entries after the checkpoint were read and verified; `);
    io.out('nothing was written\n');
    return;
  }
  await doIt(fileSystem, directory, record, io);
}

async function goOn(
  fileSystem: NodeFileSystem,
  directory: string,
  flags: RecoverFlags,
  io: CliIo,
): Promise<void> {
  const record = unfinishedRecovery(fileSystem, directory);
  if (record === null) return;
  io.out(`a recovery of ${directory} was begun at ${record.decidedAt}: epoch ${record.epoch}\n`);
  if (flags.do === true) await doIt(fileSystem, directory, record, io);
  else io.out('next: run it again with --do, it goes on where it stopped\n');
}

async function doIt(
  fileSystem: NodeFileSystem,
  directory: string,
  record: RecoveryRecord,
  io: CliIo,
): Promise<void> {
  const lock = lockDataDirectory(fileSystem, directory);
  try {
    await carryOut(fileSystem, directory, record, { hasher: createEntryHasher() });
  } finally {
    lock.release();
  }
  io.out(`done: ${record.keeper} is a cluster of its own, epoch ${record.epoch}\n`);
  io.out(`the old log is in ${directory}/quarantine/recovery-${record.epoch}, the record of this `);
  io.out(`decision in ${directory}/recovery-${record.epoch}.json\n`);
  io.out(`next: start ${record.keeper}; then empty the directories of the other nodes and add `);
  io.out('them again with holdfast member add\n');
}

function refuseRunning(fileSystem: NodeFileSystem, directory: string): void {
  if (!fileSystem.exists(directory)) throw new UsageError(`--survivor: no directory ${directory}`);
  const holder = findLockHolder(fileSystem, directory);
  if (holder === null) return;
  throw new HoldfastError(
    'DATA_DIR_LOCKED',
    `${directory} is in use by process ${holder}: stop the node first`,
    { details: { directory } },
  );
}

function parseDead(text: string | undefined): readonly NodeId[] {
  const names = text === undefined ? [] : text.split(',').map((name) => name.trim());
  const bad = names.find((name) => !isNodeId(name));
  if (bad !== undefined) throw new UsageError(`--dead: '${bad}' is no node name`);
  return names as NodeId[];
}

/** Members that answer on the network under their own name, survivors' directories apart. */
async function whoAnswers(survivors: readonly Survivor[]): Promise<readonly NodeId[]> {
  const members = new Map(
    survivors.flatMap(({ conf }) => conf.members).map((member) => [member.nodeId, member]),
  );
  const answers = await Promise.all(
    [...members.values()].map(async ({ nodeId, clientAddress }) => {
      if (clientAddress === null) return null;
      const health = await fetchHealth(clientAddress, HEALTH_TIMEOUT_MS);
      return health?.nodeId === nodeId ? nodeId : null;
    }),
  );
  return answers.filter((answer) => answer !== null);
}

const COLUMNS: readonly Column[] = [
  { title: 'SURVIVOR' },
  { title: 'DIRECTORY' },
  { title: 'LAST TERM', align: 'right' },
  { title: 'LAST INDEX', align: 'right' },
  { title: 'COMMITTED', align: 'right' },
  { title: 'LOG' },
];

function describePlan(plan: RecoveryPlan): readonly string[] {
  const { certainThrough, damagedThrough, dead, epoch, keeper, keptThrough, others } = plan;
  const rows = [keeper, ...others].map((survivor) => [
    survivor.nodeId,
    survivor.directory,
    String(survivor.keptTerm),
    String(survivor.keptIndex),
    String(survivor.committed),
    survivor.lastIndex > survivor.keptIndex
      ? `damaged from ${survivor.keptIndex + 1} to ${survivor.lastIndex}`
      : 'intact',
  ]);
  const who = dead.length === 0 ? 'the members that are gone' : dead.join(', ');
  const lines = [
    `cluster ${keeper.clusterId}, epoch ${epoch - 1}`,
    ...renderTable(COLUMNS, rows),
    `dead:     ${dead.length === 0 ? 'nobody' : dead.join(', ')}`,
    `keep:     ${keeper.nodeId}, whose log is the most up to date; through index ${keptThrough}`,
    `certain:  every write that was acknowledged up to log index ${certainThrough}`,
    `may be lost: writes acknowledged after index ${certainThrough} that only ${who} held`,
  ];
  if (damagedThrough !== null) {
    lines.push(`lost:     entries ${keptThrough + 1} to ${damagedThrough}, damaged here`);
  }
  if (others.length > 0) {
    lines.push(`rejoin:   ${others.map(({ nodeId }) => nodeId).join(', ')}, as new incarnations`);
  }
  lines.push(`epoch:    ${epoch}; nodes and clients of it refuse everybody from before`);
  return lines;
}
