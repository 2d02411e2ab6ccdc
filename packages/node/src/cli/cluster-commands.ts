/** `holdfast cluster init|start|stop|status|leases`. */
import { HoldfastError, isNodeId, type NodeId } from '@holdfast/base';
import { NodeFileSystem } from '@holdfast/storage';
import type { Command } from 'commander';
import { initCluster } from '../cluster/init.ts';
import type { PlannedNode } from '../cluster/plan.ts';
import { askCluster, renderStatus } from '../cluster/status.ts';
import { formatEndpoint, parseEndpoint } from '../config/endpoint.ts';
import {
  addClientFlags,
  type ClientFlags,
  nodeAddresses,
  readClientKey,
  withClient,
} from './client-flags.ts';
import { isRunning, readClusterFile, removeProcessMark, runningProcess } from './cluster-file.ts';
import { registerRecover } from './cluster-recover.ts';
import { startCluster } from './cluster-start.ts';
import { type CliIo, EXIT_FAILED, ExitWith, integerOption, UsageError } from './io.ts';
import { describe } from './member-commands.ts';

export const DIRECTORY_DEFAULT = 'data/cluster';
const BASE_PORT_DEFAULT = '7100';
const STOP_TIMEOUT_MS = 20_000;
const STOP_POLL_MS = 50;

interface StartFlags {
  readonly nodes?: string;
  readonly directory: string;
  readonly basePort: string;
  readonly detach?: boolean;
  readonly apiKeyFile?: string;
  readonly logLevel?: string;
  readonly set: readonly string[];
}

export function registerCluster(program: Command, io: CliIo): void {
  const cluster = program.command('cluster').description('form and run a cluster');
  cluster
    .command('init')
    .description('form a cluster: format one empty data directory per node, once, before any start')
    .option(
      '--node <ID=DIR,HOST:PORT,PEERHOST:PORT>',
      'a node: its name, data directory, client address and peer address; repeat for each node',
      collect,
      [],
    )
    .action(({ node }: { node: readonly string[] }) => init(node, io));
  cluster
    .command('start')
    .description('run a cluster of processes on this machine; forms it on first use')
    .option('--nodes <N>', 'number of nodes of a new cluster (default: 3)')
    .option('--directory <DIR>', 'where the data directories are', DIRECTORY_DEFAULT)
    .option(
      '--base-port <PORT>',
      'node i listens on PORT+i, for peers on PORT+100+i',
      BASE_PORT_DEFAULT,
    )
    .option('--detach', 'return when a leader is known and leave the nodes running')
    .option('--api-key-file <FILE>', 'API key that clients must present')
    .option('--log-level <LEVEL>', 'of the nodes: debug, info, warn, error, silent')
    .option(
      '--set <KEY=VALUE>',
      'any other setting of serve, for every node; repeatable',
      collect,
      [],
    )
    .action((flags: StartFlags) => startCluster(startOptions(flags), io));
  cluster
    .command('stop')
    .description('stop the processes that cluster start left running')
    .option('--directory <DIR>', 'where the data directories are', DIRECTORY_DEFAULT)
    .action(({ directory }: { directory: string }) => stop(directory, io));
  cluster
    .command('status')
    .description('ask every node about itself')
    .option('--nodes <HOST:PORT,...>', 'client addresses; default: the local cluster')
    .option('--api-key-file <FILE>', 'API key')
    .option('--directory <DIR>', 'of the local cluster', DIRECTORY_DEFAULT)
    .option('--json', 'one JSON document')
    .action((flags: ClientFlags & { readonly json?: boolean }) => status(flags, io));
  registerRecover(cluster, io);
  addClientFlags(
    cluster
      .command('leases')
      .description('switch lease reads on or off for the whole cluster')
      .argument('<on|off>'),
  ).action((choice: string, flags: ClientFlags) => leases(choice, flags, io));
}

async function leases(choice: string, flags: ClientFlags, io: CliIo): Promise<void> {
  if (choice !== 'on' && choice !== 'off') {
    throw new UsageError(`cluster leases: must be on or off, got '${choice}'`);
  }
  await withClient(flags, io, async (client) => {
    const result = await client.admin.setLeases(choice === 'on');
    io.out(`lease reads are ${choice} ${describe(result)}\n`);
  });
}

const collect = (value: string, previous: readonly string[]): readonly string[] => [
  ...previous,
  value,
];

function startOptions(flags: StartFlags) {
  const { nodes, directory, basePort, detach, apiKeyFile, logLevel, set } = flags;
  const extraFlags: string[] = [];
  if (apiKeyFile !== undefined) extraFlags.push('--api-key-file', apiKeyFile);
  if (logLevel !== undefined) extraFlags.push('--log-level', logLevel);
  for (const pair of set) {
    const match = /^([a-zA-Z-]+)=(.*)$/.exec(pair);
    if (match === null) throw new UsageError(`--set: must be KEY=VALUE, got '${pair}'`);
    const flag = match[1]!.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    extraFlags.push(`--${flag}`, match[2]!);
  }
  return {
    directory: directory.replace(/(.)\/+$/, '$1'),
    nodeCount: nodes === undefined ? undefined : integerOption(nodes, '--nodes', 1, 9),
    basePort: integerOption(basePort, '--base-port', 1_023, 65_000),
    isDetached: detach === true,
    extraFlags,
  };
}

function init(specifications: readonly string[], io: CliIo): void {
  if (specifications.length === 0) throw new UsageError('--node: name at least one node');
  const nodes = specifications.map(parseNode);
  const { clusterId, members } = initCluster(new NodeFileSystem(), nodes);
  io.out(`formed cluster ${clusterId}\n`);
  for (const node of nodes) {
    const member = members.find(({ nodeId }) => nodeId === node.nodeId);
    io.out(`node ${node.nodeId} incarnation ${member?.incarnation} data ${node.dataDirectory}\n`);
  }
  const [first] = nodes;
  if (first === undefined) return;
  io.out(
    `next: holdfast serve --data ${first.dataDirectory} --node-id ${first.nodeId} ` +
      `--listen ${first.publicAddress} --peer-listen ${first.peerAddress} (and so ` +
      'on, on each machine)\n',
  );
}

function parseNode(specification: string): PlannedNode {
  const match = /^([^=]+)=(.+),([^,]+),([^,]+)$/.exec(specification);
  const [, id = '', dataDirectory = '', publicText = '', peerText = ''] = match ?? [];
  const publicEndpoint = parseEndpoint(publicText);
  const peerEndpoint = parseEndpoint(peerText);
  if (!isNodeId(id) || publicEndpoint === null || peerEndpoint === null) {
    throw new UsageError(
      '--node: must be ID=DIR,HOST:PORT,HOST:PORT (client, then peer address), got ' +
        `'${specification}'`,
    );
  }
  return {
    nodeId: id as NodeId,
    dataDirectory: dataDirectory.replace(/(.)\/+$/, '$1'),
    publicAddress: formatEndpoint(publicEndpoint),
    peerAddress: formatEndpoint(peerEndpoint),
  };
}

async function stop(directory: string, io: CliIo): Promise<void> {
  const cluster = readClusterFile(directory);
  if (cluster === null) {
    throw new HoldfastError(
      'CONFIG_INVALID',
      `${directory} holds no local cluster; pass --directory`,
    );
  }
  for (const { nodeId } of cluster.nodes) {
    const running = runningProcess(directory, nodeId);
    if (running === null) {
      io.out(`node ${nodeId} does not run\n`);
      continue;
    }
    process.kill(running.pid, 'SIGTERM');
    const endMs = performance.now() + STOP_TIMEOUT_MS;
    while (isRunning(running) && performance.now() < endMs) await delay(STOP_POLL_MS);
    if (isRunning(running)) process.kill(running.pid, 'SIGKILL');
    removeProcessMark(directory, nodeId);
    io.out(`node ${nodeId} stopped\n`);
  }
}

const delay = (delayMs: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, delayMs);
  });

async function status(flags: ClientFlags & { readonly json?: boolean }, io: CliIo): Promise<void> {
  const addresses = nodeAddresses(flags, io);
  const answers = await askCluster(addresses, readClientKey(flags, io));
  if (flags.json === true) io.out(`${JSON.stringify(answers, null, 2)}\n`);
  else io.out(`${renderStatus(answers).join('\n')}\n`);
  if (answers.some((answer) => answer.kind === 'down')) throw new ExitWith(EXIT_FAILED);
}
