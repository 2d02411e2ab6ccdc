/** How every client command finds the cluster and its key. */
import { HoldfastClient } from '@holdfast/client';
import type { Command } from 'commander';
import { parseEndpoint } from '../config/endpoint.ts';
import { readSecret } from '../config/secrets.ts';
import { readClusterFile } from './cluster-file.ts';
import { type CliIo, integerOption, UsageError } from './io.ts';

export interface ClientFlags {
  readonly nodes?: string;
  readonly apiKeyFile?: string;
  readonly directory?: string;
  readonly timeout?: string;
}

const DIRECTORY_DEFAULT = 'data/cluster';
const ADDRESS_DEFAULT = '127.0.0.1:7101';

export function addClientFlags(command: Command, timeoutMs = '10000'): Command {
  return command
    .option('--nodes <HOST:PORT,...>', 'client addresses; default: the local cluster')
    .option('--api-key-file <FILE>', 'API key; or set HOLDFAST_API_KEY')
    .option('--directory <DIR>', 'of the local cluster', DIRECTORY_DEFAULT)
    .option('--timeout <MS>', 'for each request, over all its attempts', timeoutMs);
}

/** --nodes, HOLDFAST_NODES, the local cluster's file, or the first node of a default one. */
export function nodeAddresses(flags: ClientFlags, io: CliIo): readonly string[] {
  const text = flags.nodes ?? io.environment.HOLDFAST_NODES;
  if (text !== undefined) return text.split(',').map((address) => checkAddress(address.trim()));
  const cluster = readClusterFile(flags.directory ?? DIRECTORY_DEFAULT);
  return cluster?.nodes.map((node) => node.publicAddress) ?? [ADDRESS_DEFAULT];
}

export function readClientKey(flags: ClientFlags, io: CliIo): string | undefined {
  if (flags.apiKeyFile !== undefined) return readSecret(flags.apiKeyFile, 'apiKeyFile');
  return io.environment.HOLDFAST_API_KEY;
}

/** Connects, runs, and closes whatever happens. */
export async function withClient<Result>(
  flags: ClientFlags,
  io: CliIo,
  run: (client: HoldfastClient) => Promise<Result>,
): Promise<Result> {
  const apiKey = readClientKey(flags, io);
  const client = await HoldfastClient.connect({
    nodes: nodeAddresses(flags, io),
    timeoutMs: integerOption(flags.timeout ?? '10000', '--timeout', 1, 600_000),
    clientName: 'holdfast-cli',
    ...(apiKey === undefined ? {} : { apiKey }),
  });
  try {
    return await run(client);
  } finally {
    await client.close();
  }
}

function checkAddress(text: string): string {
  if (parseEndpoint(text) !== null) return text;
  throw new UsageError(`--nodes: must be HOST:PORT,HOST:PORT,..., got '${text}'`);
}
