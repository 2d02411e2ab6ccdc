/**
 * A one-node cluster inside the application's own process, with the same client API: for
 * development, tests and small applications. The directory is an ordinary data directory, so its
 * data is kept when the node is later run by `holdfast serve` and given company.
 */
import type { Logger } from '@holdfast/base';
import { nodeId, SILENT_LOGGER } from '@holdfast/base';
import { HoldfastClient } from '@holdfast/client';
import { identityPath, NodeFileSystem } from '@holdfast/storage';
import { initCluster } from './cluster/init.ts';
import { startNode } from './compose.ts';
import { loadConfig } from './config/load.ts';

export interface EmbeddedOptions {
  readonly dataDir: string;
  /** Further settings as flags without dashes, see docs/CONFIG.md: `{ laneCount: '1' }`. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Silent by default. */
  readonly logger?: Logger;
}

/** The ordinary client; `close` also stops the node and releases the directory. */
export type EmbeddedClient = HoldfastClient & {
  /** Where other processes reach this node while it is open: host:port on loopback. */
  readonly address: string;
};

const EMBEDDED_NODE_ID = nodeId('embedded');
const ANY_LOOPBACK_PORT = '127.0.0.1:0';

/**
 * Opens (and on first use formats) `dataDir` and starts its node on free loopback ports. Resolves
 * once it serves: whoever is given its address need not wait for a leader.
 * @throws HoldfastError DATA_DIR_LOCKED, DATA_DIR_FOREIGN, CONFIG_INVALID, or a storage code
 */
export async function openEmbedded(options: EmbeddedOptions): Promise<EmbeddedClient> {
  const { dataDir, settings, logger } = options;
  const fileSystem = new NodeFileSystem();
  if (!fileSystem.exists(identityPath(dataDir))) {
    // The addresses are nominal: the node listens on free ports and tells them itself.
    initCluster(fileSystem, [
      {
        nodeId: EMBEDDED_NODE_ID,
        dataDirectory: dataDir,
        publicAddress: '127.0.0.1:7101',
        peerAddress: '127.0.0.1:7201',
      },
    ]);
  }
  const flags = {
    listen: ANY_LOOPBACK_PORT,
    peerListen: ANY_LOOPBACK_PORT,
    // Nobody else votes: without peers an election needs no patience.
    electionTimeoutMs: '100',
    heartbeatIntervalMs: '20',
    ...settings,
    data: dataDir,
    nodeId: EMBEDDED_NODE_ID,
  };
  const config = loadConfig({ environment: {}, flags });
  const node = await startNode(config, {
    logger: logger ?? SILENT_LOGGER,
    hasProcessMetrics: false,
  });
  try {
    const address = node.addresses.public;
    const client = await HoldfastClient.connect({ nodes: [address] });
    await client.listCollections().catch(async (error: unknown) => {
      await client.close();
      throw error;
    });
    const closeClient = client.close.bind(client);
    const close = async (): Promise<void> => {
      try {
        await closeClient();
      } finally {
        await node.stop();
      }
    };
    return Object.assign(client, { address, close });
  } catch (error) {
    await node.stop();
    throw error;
  }
}
