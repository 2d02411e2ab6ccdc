/** `holdfast member list|add|remove|replace|promote|demote|update|transfer`. */
import type { ChangeMembersResult, HoldfastClient } from '@holdfast/client';
import type { Command } from 'commander';
import { renderMembers } from '../cluster/member-table.ts';
import { parseEndpoint } from '../config/endpoint.ts';
import { addClientFlags, type ClientFlags, withClient } from './client-flags.ts';
import { type CliIo, integerOption, UsageError } from './io.ts';
import { watchUntilVoter } from './member-progress.ts';

interface AddFlags extends ClientFlags {
  readonly address?: string;
  readonly learner?: boolean;
  /** Commander's form of --no-wait. */
  readonly wait: boolean;
  readonly waitTimeout: string;
}

interface UpdateFlags extends ClientFlags {
  readonly address?: string;
  readonly clientAddress?: string;
}

/** A day: catching up with terabytes is no reason to give up. */
const WAIT_SECONDS_MAX = 86_400;
const WAIT_SECONDS_DEFAULT = '3600';

export function registerMembers(program: Command, io: CliIo): void {
  const member = program
    .command('member')
    .description('members of the cluster, and changes of them');
  addClientFlags(
    member
      .command('list')
      .description('members, their progress, and nodes that wait to be added')
      .option('--json', 'one JSON document'),
  ).action((flags: ClientFlags & { readonly json?: boolean }) => list(flags, io));
  registerAdditions(member, io);
  registerOthers(member, io);
}

function registerAdditions(member: Command, io: CliIo): void {
  const waiting = (command: Command): Command =>
    command
      .option('--address <HOST:PORT>', 'where the other nodes reach the new one, if not as it says')
      .option('--no-wait', 'return when the change is committed, before the node has its vote')
      .option('--wait-timeout <SECONDS>', 'how long to watch it catch up', WAIT_SECONDS_DEFAULT);
  addClientFlags(
    waiting(
      member
        .command('add')
        .description('add a node that was started with --join; it gets its vote once it caught up')
        .argument('<NODE>')
        .option('--learner', 'it stays without a vote'),
    ),
  ).action((node: string, flags: AddFlags) => add(node, flags, io));
  addClientFlags(
    waiting(
      member
        .command('replace')
        .description('put a new node in the place of a voter, in one step once it caught up')
        .argument('<OLD>')
        .argument('<NEW>'),
    ),
  ).action((old: string, by: string, flags: AddFlags) => replace(old, by, flags, io));
}

function registerOthers(member: Command, io: CliIo): void {
  const simple = (
    name: string,
    description: string,
    run: (client: HoldfastClient, node: string) => Promise<ChangeMembersResult>,
    done: (node: string) => string,
  ): void => {
    addClientFlags(member.command(name).description(description).argument('<NODE>')).action(
      (node: string, flags: ClientFlags) =>
        withClient(flags, io, async (client) => {
          io.out(`${done(node)} ${describe(await run(client, node))}\n`);
        }),
    );
  };
  simple(
    'remove',
    'take a member out of the cluster; the leader may be removed too',
    (client, node) => client.admin.removeMember(node),
    (node) => `${node} is removed; it may be stopped`,
  );
  simple(
    'promote',
    'give a learner that has caught up its vote',
    (client, node) => client.admin.promoteMember(node),
    (node) => `${node} is a voter`,
  );
  simple(
    'demote',
    'make a voter a learner: it keeps its copy and does not count',
    (client, node) => client.admin.demoteMember(node),
    (node) => `${node} is a learner`,
  );
  addClientFlags(
    member
      .command('update')
      .description('tell the cluster that a member has moved')
      .argument('<NODE>')
      .option('--address <HOST:PORT>', 'new address for the other nodes')
      .option('--client-address <HOST:PORT>', 'new address for clients'),
  ).action((node: string, flags: UpdateFlags) => update(node, flags, io));
  addClientFlags(
    member
      .command('transfer')
      .description('hand the leadership to a voter; without a name to the most up to date')
      .argument('[NODE]'),
  ).action((node: string | undefined, flags: ClientFlags) => transfer(node, flags, io));
}

async function list(flags: ClientFlags & { readonly json?: boolean }, io: CliIo): Promise<void> {
  await withClient(flags, io, async (client) => {
    const members = await client.admin.members();
    if (flags.json === true) io.out(`${JSON.stringify(members, null, 2)}\n`);
    else io.out(`${renderMembers(members).join('\n')}\n`);
  });
}

async function add(nodeId: string, flags: AddFlags, io: CliIo): Promise<void> {
  const isLearner = flags.learner === true;
  await withClient(flags, io, async (client) => {
    const result = await client.admin.addMember({ nodeId, isLearner, ...addressOf(flags) });
    io.out(`${nodeId} is a member ${describe(result)}\n`);
    if (isLearner || !flags.wait) return;
    await watchUntilVoter(client, { nodeId, replaces: null, timeoutMs: waitMs(flags) }, io);
    io.out(`${nodeId} is a voter\n`);
  });
}

async function replace(old: string, by: string, flags: AddFlags, io: CliIo): Promise<void> {
  await withClient(flags, io, async (client) => {
    const result = await client.admin.replaceMember({ nodeId: old, by, ...addressOf(flags) });
    io.out(`${by} is to take the place of ${old} ${describe(result)}\n`);
    if (!flags.wait) return;
    await watchUntilVoter(client, { nodeId: by, replaces: old, timeoutMs: waitMs(flags) }, io);
    io.out(`${by} is a voter, ${old} is removed; it may be stopped\n`);
  });
}

async function update(nodeId: string, flags: UpdateFlags, io: CliIo): Promise<void> {
  const { clientAddress } = flags;
  if (flags.address === undefined && clientAddress === undefined) {
    throw new UsageError('member update: pass --address, --client-address or both');
  }
  await withClient(flags, io, async (client) => {
    const result = await client.admin.updateMember({
      nodeId,
      ...addressOf(flags),
      ...(clientAddress === undefined
        ? {}
        : { clientAddress: checked(clientAddress, '--client-address') }),
    });
    io.out(`${nodeId} has moved ${describe(result)}\n`);
  });
}

async function transfer(node: string | undefined, flags: ClientFlags, io: CliIo): Promise<void> {
  await withClient(flags, io, async (client) => {
    const { leader, term } = await client.admin.transferLeadership(node);
    io.out(`${leader} leads (term ${term})\n`);
  });
}

/** `(configuration 53, term 2)`, with a word when nothing had to be done. */
export function describe({ index, term, isChanged }: ChangeMembersResult): string {
  return `(configuration ${index}, term ${term}${isChanged ? '' : ', as it was already'})`;
}

function addressOf({ address }: { readonly address?: string }): { readonly address?: string } {
  return address === undefined ? {} : { address: checked(address, '--address') };
}

function checked(address: string, flag: string): string {
  if (parseEndpoint(address) !== null) return address;
  throw new UsageError(`${flag}: must be HOST:PORT, got '${address}'`);
}

const waitMs = ({ waitTimeout }: AddFlags): number =>
  1_000 * integerOption(waitTimeout, '--wait-timeout', 1, WAIT_SECONDS_MAX);
