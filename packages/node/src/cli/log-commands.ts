/**
 * `holdfast log stats|verify`: numbers of the log and the proof of its chain, by running nodes or,
 * with `--data`, in the directory of a stopped one, which is only read.
 */
import type { LogIndex } from '@holdfast/base';
import { HoldfastError, logIndex } from '@holdfast/base';
import {
  createEntryHasher,
  findLockHolder,
  type GroupLog,
  joinPath,
  listWalFiles,
  NodeFileSystem,
  readLogs,
  WAL_DIRECTORY_NAME,
} from '@holdfast/storage';
import type { Command } from 'commander';
import type { LogStats } from '../log-check/log-check-api.ts';
import { verifyLog } from '../log-check/verify-log.ts';
import { type LogVerifyView, reportView } from '../server/log-check-routes.ts';
import { askNode } from './ask-node.ts';
import { addClientFlags, type ClientFlags, nodeAddresses } from './client-flags.ts';
import { type CliIo, EXIT_FAILED, ExitWith, integerOption } from './io.ts';

const STATS_TIMEOUT_MS = '10000';
/** 1 GiB of log takes some seconds. */
const VERIFY_TIMEOUT_MS = '600000';

interface LogFlags extends ClientFlags {
  readonly data?: string;
  readonly json?: boolean;
}

interface VerifyFlags extends LogFlags {
  readonly from: string;
}

export function registerLog(program: Command, io: CliIo): void {
  const log = program.command('log').description('the log of a node: its numbers and its chain');
  addClientFlags(
    log
      .command('stats')
      .description('newest entry, files, and how far the archive is')
      .option('--data <DIR>', 'of a stopped node, instead of asking running ones')
      .option('--json', 'one JSON document per node'),
    STATS_TIMEOUT_MS,
  ).action((flags: LogFlags) => stats(flags, io));
  addClientFlags(
    log
      .command('verify')
      .description('read the log back and prove its chain; exit code 1 when an entry is bad')
      .option('--from <INDEX>', 'the first entry that is looked at', '0')
      .option('--data <DIR>', 'of a stopped node, instead of asking running ones')
      .option('--json', 'one JSON document per node'),
    VERIFY_TIMEOUT_MS,
  ).action((flags: VerifyFlags) => verify(flags, io));
}

async function stats(flags: LogFlags, io: CliIo): Promise<void> {
  if (flags.data !== undefined) {
    for (const { fileCount, log } of logsIn(flags.data)) {
      const facts = { currentIndex: log.lastIndex(), firstIndex: log.firstIndex() };
      const numbers = { ...facts, sizeBytes: log.sizeBytes, fileCount };
      if (flags.json === true) io.out(`${JSON.stringify(numbers)}\n`);
      else io.out(`${flags.data}: ${describeLog(numbers)}\n`);
    }
    return;
  }
  for (const address of nodeAddresses(flags, io)) {
    const path = '/api/v1/admin/log';
    const question = { address, path, method: 'GET', timeoutMs: STATS_TIMEOUT_MS };
    const numbers = await askNode<LogStats>(flags, io, question);
    if (flags.json === true) {
      io.out(`${JSON.stringify({ address, ...numbers })}\n`);
      continue;
    }
    io.out(`${address}: ${describeLog(numbers)}\n`);
    const { activeFileEntryCount, archive, committedIndex, newestCheck } = numbers;
    io.out(`  committed ${committedIndex}, ${activeFileEntryCount} entries in the active file\n`);
    for (const { archivedIndex, chunkCount, lagEntryCount, sink } of archive) {
      const end = archivedIndex ?? 'unknown';
      io.out(`  archive ${sink}: to ${end}, ${chunkCount} chunks, ${lagEntryCount} to go\n`);
    }
    if (newestCheck === null) continue;
    const when = new Date(newestCheck.endedAtMs).toISOString();
    const { badEntryCount, error, isValid } = newestCheck;
    const verdict = isValid ? 'good' : (error?.message ?? `${badEntryCount} entries bad`);
    io.out(`  chain looked at ${when}: ${verdict}\n`);
  }
}

const describeLog = (
  log: Pick<LogStats, 'currentIndex' | 'firstIndex' | 'fileCount' | 'sizeBytes'>,
): string =>
  `log ${log.firstIndex} to ${log.currentIndex}, ${log.sizeBytes} bytes in ${log.fileCount} files`;

async function verify(flags: VerifyFlags, io: CliIo): Promise<void> {
  const from = integerOption(flags.from, '--from', 0, Number.MAX_SAFE_INTEGER);
  let isValid = true;
  const show = (name: string, report: LogVerifyView): void => {
    isValid &&= report.isValid;
    if (flags.json === true) io.out(`${JSON.stringify({ name, ...report })}\n`);
    else showReport(name, report, io);
  };
  if (flags.data === undefined) {
    for (const address of nodeAddresses(flags, io)) {
      const path = `/api/v1/admin/log/verify?from=${from}`;
      const question = { address, path, method: 'POST', timeoutMs: VERIFY_TIMEOUT_MS };
      show(address, await askNode<LogVerifyView>(flags, io, question));
    }
  } else {
    for (const { log } of logsIn(flags.data)) {
      show(flags.data, reportView(await verifyStopped(log, logIndex(from))));
    }
  }
  if (!isValid) throw new ExitWith(EXIT_FAILED);
}

/** All of it: nothing is replaced any more. */
const verifyStopped = (log: GroupLog, from: LogIndex) =>
  verifyLog(
    {
      ...{ log, committedIndex: log.lastIndex(), hasher: createEntryHasher() },
      pause: () => Promise.resolve(),
    },
    from,
  );

function showReport(name: string, report: LogVerifyView, io: CliIo): void {
  for (const { message } of report.errors) io.out(`  ${message}\n`);
  if (report.isCutShort) io.out('  and perhaps more\n');
  const { fromIndex, isValid, throughIndex, verifiedEntryCount } = report;
  const verdict = isValid ? 'the chain is whole' : `first bad index ${report.firstBadIndex}`;
  io.out(`${name}: ${verifiedEntryCount} entries, ${fromIndex} to ${throughIndex}: ${verdict}\n`);
}

function* logsIn(directory: string): Generator<{ log: GroupLog; fileCount: number }> {
  const fileSystem = new NodeFileSystem();
  const walDirectory = joinPath(directory, WAL_DIRECTORY_NAME);
  if (!fileSystem.exists(walDirectory)) {
    const message = `--data: ${directory} has no log: name the data directory of a node`;
    throw new HoldfastError('ARGUMENT_INVALID', message, { details: { directory } });
  }
  const holder = findLockHolder(fileSystem, directory);
  if (holder !== null) {
    const message = `process ${holder} uses ${directory}: ask the node with --nodes, or stop it`;
    throw new HoldfastError('DATA_DIR_LOCKED', message, { details: { directory, pid: holder } });
  }
  const logs = readLogs(fileSystem, walDirectory);
  try {
    const fileCount = listWalFiles(fileSystem, walDirectory).length;
    for (const log of logs.groups.values()) yield { log, fileCount };
  } finally {
    logs.close();
  }
}
