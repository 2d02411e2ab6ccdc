/** Which nodes a cluster is formed of, and the ports of a cluster on one machine. */
import { HoldfastError, type NodeId, nodeId } from '@holdfast/base';

export interface PlannedNode {
  readonly nodeId: NodeId;
  readonly dataDirectory: string;
  /** Client address, `host:port`. */
  readonly publicAddress: string;
  /** Address for the other nodes, `host:port`. */
  readonly peerAddress: string;
}

export interface LocalPlanOptions {
  /** Holds one data directory per node. */
  readonly directory: string;
  readonly nodeCount: number;
  /** Node i listens on basePort + i, and on basePort + 100 + i for its peers; i starts at 1. */
  readonly basePort: number;
}

/** Larger local clusters only slow each other down. */
export const LOCAL_NODE_COUNT_MAX = 9;
const PEER_PORT_OFFSET = 100;
const HOST = '127.0.0.1';

/** @throws HoldfastError CONFIG_INVALID */
export function planLocalCluster(options: LocalPlanOptions): readonly PlannedNode[] {
  const { directory, nodeCount, basePort } = options;
  if (!Number.isInteger(nodeCount) || nodeCount < 1 || nodeCount > LOCAL_NODE_COUNT_MAX) {
    throw refuse(`--nodes: must be 1 to ${LOCAL_NODE_COUNT_MAX}`);
  }
  const portMax = 65_535 - PEER_PORT_OFFSET - LOCAL_NODE_COUNT_MAX;
  if (!Number.isInteger(basePort) || basePort < 1_023 || basePort > portMax) {
    throw refuse(`--base-port: must be 1023 to ${portMax}`);
  }
  return Array.from({ length: nodeCount }, (_, i) => ({
    nodeId: nodeId(`n${i + 1}`),
    dataDirectory: `${directory}/n${i + 1}`,
    publicAddress: `${HOST}:${basePort + i + 1}`,
    peerAddress: `${HOST}:${basePort + PEER_PORT_OFFSET + i + 1}`,
  }));
}

const refuse = (message: string): HoldfastError => new HoldfastError('CONFIG_INVALID', message);
