/** `holdfast backup verify-log`: the archive of the log read back and its chains proven. */
import { clusterId, logIndex } from '@holdfast/base';
import { createEntryHasher } from '@holdfast/storage';
import type { Command } from 'commander';
import { ArchiveReader, type ArchiveReport } from '../backup/archive/archive-reader.ts';
import { ArchiveStore } from '../backup/archive/archive-store.ts';
import { entryTimestampMs } from '../backup/archive/entry-time.ts';
import { findTimeline } from '../backup/archive/find-timeline.ts';
import { type CliIo, EXIT_FAILED, ExitWith, integerOption } from './io.ts';
import { addStoreFlags, onlyCluster, type StoreFlags, withStore } from './store-flags.ts';

interface VerifyLogFlags extends StoreFlags {
  readonly cluster?: string;
  readonly timeline?: string;
  readonly fromIndex?: string;
  readonly allowHoles?: boolean;
  readonly json?: boolean;
}

export function addVerifyLog(backup: Command, io: CliIo): void {
  addStoreFlags(
    backup
      .command('verify-log')
      .description('read the archive of the log back; exit code 1 names the first bad index')
      .option('--cluster <ID>', 'default: the only one in the store')
      .option('--timeline <NAME>', 'of that cluster; default: the newest')
      .option('--from-index <N>', 'default: the first that the archive has')
      .option('--allow-holes', 'what retention has removed in between is no damage')
      .option('--json', 'one JSON document'),
  ).action((flags: VerifyLogFlags) => verifyLog(flags, io));
}

async function verifyLog(flags: VerifyLogFlags, io: CliIo): Promise<void> {
  const { allowHoles = false, fromIndex } = flags;
  const from =
    fromIndex === undefined
      ? undefined
      : logIndex(integerOption(fromIndex, '--from-index', 1, Number.MAX_SAFE_INTEGER));
  await withStore(flags, io, async (open) => {
    const { sealing, sink } = open;
    const cluster = clusterId(await onlyCluster(open, flags.cluster));
    const common = { sink, clusterId: cluster, sealing, hasher: createEntryHasher() };
    const storeOf = (timeline: string): ArchiveStore =>
      new ArchiveStore({ ...common, timeline, timestampOf: entryTimestampMs });
    const timeline = flags.timeline ?? (await findTimeline(sink, cluster, storeOf)).timeline;
    const reader = new ArchiveReader(storeOf(timeline));
    const report = await reader.verify(from, { allowsHoles: allowHoles });
    const isValid = report.error === null;
    if (flags.json === true) {
      const { error, ...rest } = report;
      io.out(`${JSON.stringify({ isValid, timeline, ...rest, error: error?.toBody() ?? null })}\n`);
    } else {
      show(timeline, report, io);
    }
    if (!isValid) throw new ExitWith(EXIT_FAILED);
  });
}

function show(timeline: string, report: ArchiveReport, io: CliIo): void {
  const { chunkCount, entryCount, error, firstBadIndex, firstIndex, gaps, holes, lastIndex } =
    report;
  for (const gap of gaps) {
    io.out(`  gap ${gap.firstIndex} to ${gap.lastIndex}: ${gap.reason}\n`);
  }
  for (const hole of holes) io.out(`  removed: ${hole.firstIndex} to ${hole.lastIndex}\n`);
  const range = firstIndex === null ? 'none' : `${firstIndex} to ${lastIndex}`;
  io.out(`timeline ${timeline}: ${entryCount} entries in ${chunkCount} chunks, ${range}\n`);
  if (error === null) {
    io.out('the chain is whole\n');
    return;
  }
  const entry = firstBadIndex === null ? 'the archive' : `archived entry ${firstBadIndex}`;
  io.out(
    `${entry} chain broken: ${error.message}; restore targets before it can be reached, make a ` +
      'full backup now for what comes after\n',
  );
}
