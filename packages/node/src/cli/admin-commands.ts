/** `holdfast admin ...` and `holdfast query`: what runbooks ask first and last. */
import type { Command } from 'commander';
import type { BreakerStatus } from '../heal/care-api.ts';
import { askNode } from './ask-node.ts';
import { addClientFlags, type ClientFlags, nodeAddresses, withClient } from './client-flags.ts';
import { type CliIo, EXIT_FAILED, ExitWith, integerOption, isCode } from './io.ts';

const HEALTH_TIMEOUT_MS = '10000';

/** How long a disk may take for one write before the command says that it does not know. */
const PROBE_TIMEOUT_MS = 5_000;
const PROBE_POLL_MS = 100;

interface BreakerFlags extends ClientFlags {
  readonly name: string;
}

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
    admin
      .command('reset-circuit-breaker')
      .description('try at once what a breaker keeps away; it closes only when that succeeds')
      .requiredOption('--name <NAME>', 'wal: of the log, open while the disk refuses it'),
    HEALTH_TIMEOUT_MS,
  ).action((flags: BreakerFlags) => resetBreaker(flags, io));
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

/** Exit code 1 when a breaker is still open at the end. */
async function resetBreaker(flags: BreakerFlags, io: CliIo): Promise<void> {
  let openCount = 0;
  for (const address of nodeAddresses(flags, io)) {
    const question = { address, timeoutMs: HEALTH_TIMEOUT_MS };
    const path = `/api/v1/admin/circuit-breakers/${encodeURIComponent(flags.name)}/reset`;
    const asked = { ...question, path, method: 'POST' };
    const { before, isProbed } = await askNode<ProbeView>(flags, io, asked);
    if (!isProbed) {
      io.out(`${address}: ${before.name} is closed: there is nothing to try\n`);
      continue;
    }
    const after = await probed(before, async () => {
      const status = { ...question, path: '/api/v1/admin/circuit-breakers', method: 'GET' };
      const { breakers } = await askNode<BreakersView>(flags, io, status);
      return breakers.find(({ name }) => name === before.name) ?? before;
    });
    if (after.state !== 'closed') openCount += 1;
    io.out(`${address}: ${before.name} was open (${before.type}), ${outcomeOf(before, after)}\n`);
  }
  if (openCount > 0) throw new ExitWith(EXIT_FAILED);
}

interface ProbeView {
  readonly before: BreakerStatus;
  readonly isProbed: boolean;
}

interface BreakersView {
  readonly breakers: readonly BreakerStatus[];
}

/** How it stands when the probe has ended, or when that took too long. */
async function probed(
  before: BreakerStatus,
  ask: () => Promise<BreakerStatus>,
): Promise<BreakerStatus> {
  const endMs = performance.now() + PROBE_TIMEOUT_MS;
  for (;;) {
    const now = await ask();
    const hasEnded = now.state === 'closed' || now.retries > before.retries;
    if (hasEnded || performance.now() >= endMs) return now;
    await new Promise((resolve) => setTimeout(resolve, PROBE_POLL_MS));
  }
}

function outcomeOf(before: BreakerStatus, after: BreakerStatus): string {
  if (after.state === 'closed') return 'tried what waited, and is closed: the disk took it';
  if (after.retries === before.retries) return 'and the disk has not answered what was tried';
  return `tried what waited, and is open: the disk refused it (${after.type}); next by itself`;
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
