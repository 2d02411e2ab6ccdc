/** `holdfast serve`: one node in the foreground, until a signal or a failure stops it. */
import { readFileSync } from 'node:fs';
import { type ErrorBody, HoldfastError } from '@holdfast/base';
import type { Command } from 'commander';
import { describeOptions } from '../config/describe.ts';
import { type ConfigSources, loadConfig } from '../config/load.ts';
import type { NodeConfig } from '../config/options.ts';
import type { RunningNode } from '../service-api.ts';
import { type CliIo, EXIT_FAILED, ExitWith } from './io.ts';

type Flags = Record<string, string | boolean | undefined>;

export function registerServe(program: Command, io: CliIo): void {
  const command = program
    .command('serve')
    .description(
      'run one node in the foreground; its data directory was formatted before, or is empty and ' +
        'the node joins a cluster (--join)',
    )
    .option(
      '--config <FILE>',
      'YAML or JSON file with settings; environment and flags win over it',
    );
  for (const { flag, placeholder, defaultText, isRequired, help } of describeOptions()) {
    const suffix = isRequired
      ? ' (required)'
      : defaultText === ''
        ? ''
        : ` (default: ${defaultText})`;
    command.option(placeholder === '' ? flag : `${flag} <${placeholder}>`, help + suffix);
  }
  command.action((flags: Flags) => serve(configOf(flags, io), io));
}

/** @throws HoldfastError CONFIG_INVALID */
export function configOf(given: Flags, io: Pick<CliIo, 'environment'>): NodeConfig {
  const { config, ...flags } = given;
  const name = typeof config === 'string' ? config : io.environment.HOLDFAST_CONFIG;
  const file = name === undefined ? {} : { file: { name, text: readConfigFile(name) } };
  const sources: ConfigSources = { ...file, environment: io.environment, flags };
  return loadConfig(sources);
}

function readConfigFile(name: string): string {
  try {
    return readFileSync(name, 'utf8');
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new HoldfastError('CONFIG_INVALID', `cannot read the configuration: ${reason}`, {
      cause: error,
      details: { source: name },
    });
  }
}

type End =
  | { readonly kind: 'signal'; readonly signal: string }
  | { readonly kind: 'failure'; readonly failure: ErrorBody };

async function serve(config: NodeConfig, io: CliIo): Promise<void> {
  const stopped: Promise<End> = io
    .untilStopped()
    .then((signal) => ({ kind: 'signal', signal }) as const);
  while (await serveOneLife(config, io, stopped)) {
    io.out(`holdfast: node ${config.nodeId} starts again as a new incarnation\n`);
  }
}

/** True when the node is to be started again: it has begun a new life. */
async function serveOneLife(
  config: NodeConfig,
  io: CliIo,
  stopped: Promise<End>,
): Promise<boolean> {
  // Loaded here so that the other commands need neither threads nor native code.
  const { startNode } = await import('../compose.ts');
  const node: RunningNode = await startNode(config, io.startOverrides);
  const failed = new Promise<End>((resolve) =>
    node.onFailure((failure) => resolve({ kind: 'failure', failure })),
  );
  const { public: publicAddress, peer } = node.addresses;
  io.out(`holdfast: node ${config.nodeId} serves clients on ${publicAddress}, nodes on ${peer}\n`);
  if (node.membership() === 'joining') {
    io.out(
      `holdfast: node ${config.nodeId} waits to be added: holdfast member add ${config.nodeId}\n`,
    );
  }
  const end = await Promise.race([stopped, failed]);
  if (end.kind === 'signal') {
    await node.stop();
    io.out(`holdfast: node ${config.nodeId} stopped after ${end.signal}\n`);
    return false;
  }
  const { code, message } = end.failure;
  io.err(`holdfast: ${code}: ${message}\n`);
  if (code === 'NEW_LIFE_NEEDED') {
    await node.stop();
    return true;
  }
  // A node that failed its disk must not be used again in this process: nothing is closed in order.
  await node.endThreads();
  throw new ExitWith(EXIT_FAILED);
}
