/** `holdfast admin health-check` and `holdfast query`: what runbooks ask first and last. */
import type { Command } from 'commander';
import { addClientFlags, type ClientFlags, nodeAddresses, withClient } from './client-flags.ts';
import { type CliIo, EXIT_FAILED, ExitWith, integerOption, isCode } from './io.ts';

const HEALTH_TIMEOUT_MS = '10000';

interface QueryFlags extends ClientFlags {
  readonly docId: string;
  readonly collection?: string;
}

export function registerAdmin(program: Command, io: CliIo): void {
  const admin = program.command('admin').description('what runbooks ask of running nodes');
  addClientFlags(
    admin.command('health-check').description('exit code 1 unless every node serves'),
    HEALTH_TIMEOUT_MS,
  ).action((flags: ClientFlags) => healthCheck(flags, io));
  addClientFlags(
    program
      .command('query')
      .description('is a document there? Looks in one collection, or in all; exit code 1: nowhere')
      .requiredOption('--doc-id <ID>', 'of a point')
      .option('--collection <NAME>', 'default: all'),
  ).action((flags: QueryFlags) => query(flags, io));
}

interface HealthView {
  readonly status: string;
  readonly role: string;
  readonly leader: string | null;
  readonly lagEntries: number;
  readonly reason: string | null;
}

async function healthCheck(flags: ClientFlags, io: CliIo): Promise<void> {
  const timeoutMs = integerOption(flags.timeout ?? HEALTH_TIMEOUT_MS, '--timeout', 1, 600_000);
  let badCount = 0;
  for (const address of nodeAddresses(flags, io)) {
    const view = await healthOf(address, timeoutMs);
    const isGood = view.status === 'ok';
    if (!isGood) badCount += 1;
    const { lagEntries, leader, reason, role } = view;
    const facts = isGood ? `leader ${leader}, ${lagEntries} entries behind` : reason;
    io.out(`${address}: ${view.status}, ${role}: ${facts}\n`);
  }
  if (badCount > 0) throw new ExitWith(EXIT_FAILED);
}

/** 503 has a body too; a node that cannot be reached is what the question is about. */
async function healthOf(address: string, timeoutMs: number): Promise<HealthView> {
  try {
    const response = await fetch(`http://${address}/health`, {
      headers: { connection: 'close' },
      signal: AbortSignal.timeout(timeoutMs),
    });
    return (await response.json()) as HealthView;
  } catch (thrown) {
    const cause = thrown instanceof Error ? (thrown.cause ?? thrown) : thrown;
    const reason = `cannot be reached: ${cause instanceof Error ? cause.message : String(cause)}`;
    return { status: 'unreachable', role: 'unknown', leader: null, lagEntries: 0, reason };
  }
}

async function query(flags: QueryFlags, io: CliIo): Promise<void> {
  const { collection, docId } = flags;
  const id = /^\d+$/.test(docId) ? Number(docId) : docId;
  let foundCount = 0;
  await withClient(flags, io, async (client) => {
    const names =
      collection === undefined
        ? (await client.listCollections()).map(({ name }) => name)
        : [collection];
    for (const name of names) {
      const points = await client.collection(name).get([id]);
      for (const point of points) {
        foundCount += 1;
        io.out(`${JSON.stringify({ collection: name, id: point.id, payload: point.payload })}\n`);
      }
    }
  }).catch((thrown: unknown) => {
    if (isCode(thrown, 'POINT_ID_INVALID')) io.err(`--doc-id: ${docId} is no id of a point\n`);
    throw thrown;
  });
  if (foundCount > 0) return;
  io.err(`no point has the id ${docId}\n`);
  throw new ExitWith(EXIT_FAILED);
}
