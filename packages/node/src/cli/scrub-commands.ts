/** `holdfast scrub now|status`: every file of every node, and what became of what was found. */
import type { Command } from 'commander';
import type { CareStatus } from '../heal/care-api.ts';
import type { ScrubReport } from '../heal/scrub-report.ts';
import { addClientFlags, type ClientFlags, nodeAddresses, readClientKey } from './client-flags.ts';
import { type CliIo, EXIT_FAILED, ExitWith, integerOption } from './io.ts';

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
    const report = await ask<ScrubReport>(flags, io, { address, path, method: 'POST' });
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
    const request = { address, path: '/api/v1/admin/scrub', method: 'GET' };
    const { newest, recoveries, unrecovered } = await ask<CareStatus>(flags, io, request);
    const when = newest === null ? 'never' : new Date(newest.endedAtMs).toISOString();
    const { successfulRecoveries, totalFailuresDetected } = recoveries;
    io.out(
      `${address}: last scrub ${when}, found ${totalFailuresDetected}, ` +
        `recovered ${successfulRecoveries}, not recovered ${unrecovered.length}\n`,
    );
    for (const key of unrecovered) io.out(`  ${key} could not be recovered\n`);
  }
}

interface Question {
  readonly address: string;
  readonly path: string;
  readonly method: string;
}

async function ask<Body>(
  flags: ClientFlags,
  io: CliIo,
  { address, method, path }: Question,
): Promise<Body> {
  const apiKey = readClientKey(flags, io);
  const key = apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` };
  const timeoutMs = integerOption(flags.timeout ?? CHECK_TIMEOUT_MS, '--timeout', 1, 86_400_000);
  const response = await fetch(`http://${address}${path}`, {
    method,
    headers: { ...key, connection: 'close' },
    signal: AbortSignal.timeout(timeoutMs),
  });
  if (response.ok) return (await response.json()) as Body;
  const body = (await response.json()) as { readonly error?: { readonly message?: string } };
  io.err(`${address}: ${body.error?.message ?? `HTTP status ${response.status}`}\n`);
  throw new ExitWith(EXIT_FAILED);
}
