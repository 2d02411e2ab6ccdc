/** `holdfast scrub now|status`: every file of every node, and what became of what was found. */
import type { Command } from 'commander';
import type { CareStatus } from '../heal/care-api.ts';
import type { ScrubReport } from '../heal/scrub-report.ts';
import { askNode } from './ask-node.ts';
import { addClientFlags, type ClientFlags, nodeAddresses } from './client-flags.ts';
import { type CliIo, EXIT_FAILED, ExitWith } from './io.ts';

/** A pass at the default rate over 50 GB takes eight minutes. */
const CHECK_TIMEOUT_MS = '3600000';

export function registerScrub(program: Command, io: CliIo): void {
  const scrub = program
    .command('scrub')
    .description('look at every byte that the nodes have on disk');
  addClientFlags(
    scrub.command('now').description('look at everything now and wait for the result'),
    CHECK_TIMEOUT_MS,
  ).action((flags: ClientFlags) => now(flags, io));
  addClientFlags(
    scrub.command('status').description('what the newest looks and recoveries came to'),
  ).action((flags: ClientFlags) => status(flags, io));
}

async function now(flags: ClientFlags, io: CliIo): Promise<void> {
  let flawCount = 0;
  for (const address of nodeAddresses(flags, io)) {
    const path = '/api/v1/admin/integrity-check?mode=sync';
    const report = await askNode<ScrubReport>(flags, io, {
      address,
      path,
      method: 'POST',
      timeoutMs: CHECK_TIMEOUT_MS,
    });
    const { files, flaws } = report.totals;
    flawCount += flaws;
    io.out(`${address}: ${files} files in ${report.durationMs} ms, ${flaws} damaged places\n`);
    for (const file of report.damaged) {
      for (const { offset, what } of file.flaws)
        io.out(`  ${file.path} at ${offset ?? 0}: ${what}\n`);
    }
  }
  if (flawCount > 0) throw new ExitWith(EXIT_FAILED);
}

async function status(flags: ClientFlags, io: CliIo): Promise<void> {
  for (const address of nodeAddresses(flags, io)) {
    const path = '/api/v1/admin/scrub';
    const request = { address, path, method: 'GET', timeoutMs: CHECK_TIMEOUT_MS };
    const { newest, recoveries, unrecovered } = await askNode<CareStatus>(flags, io, request);
    const when = newest === null ? 'never' : new Date(newest.endedAtMs).toISOString();
    const { successfulRecoveries, totalFailuresDetected } = recoveries;
    io.out(
      `${address}: last scrub ${when}, found ${totalFailuresDetected}, ` +
        `recovered ${successfulRecoveries}, not recovered ${unrecovered.length}\n`,
    );
    for (const key of unrecovered) io.out(`  ${key} could not be recovered\n`);
  }
}
