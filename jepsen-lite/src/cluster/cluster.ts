/**
 * The one interface under which a cluster is tested: real processes today; network namespaces and
 * the simulator can stand behind it later. Nothing above this file knows process ids.
 */

export type NodeName = string;

/** What a node says of itself on `GET /health`. Unreachable nodes give no health at all. */
export interface NodeHealth {
  readonly nodeName: NodeName;
  /** True when the node answered 200: it knows a leader and serves. */
  readonly isReady: boolean;
  readonly role: string;
  readonly term: number;
  readonly leader: NodeName | null;
  readonly appliedIndex: number;
  readonly commitIndex: number;
}

/** What a node says of its state on `GET /api/v1/cluster/status`. */
export interface NodeDigest {
  readonly nodeName: NodeName;
  /** The log index at which the digest was taken. */
  readonly appliedIndex: number;
  readonly digest: string;
}

/** Rows of all shards on one node, by where a search finds them. */
export interface NodeRows {
  readonly liveCount: number;
  /** Not in the graph yet: searched exactly. */
  readonly tailCount: number;
  readonly graphCount: number;
}

export interface LeaderView {
  readonly nodeName: NodeName;
  readonly term: number;
}

export type KillSignal = 'SIGKILL' | 'SIGTERM' | 'SIGSTOP' | 'SIGCONT';

export interface Cluster {
  readonly nodeNames: readonly NodeName[];
  /** Public `host:port` of every node, in the order of `nodeNames`: what a client is given. */
  readonly addresses: readonly string[];
  addressOf(nodeName: NodeName): string;
  isRunning(nodeName: NodeName): boolean;
  /**
   * Sends a signal to the node's process. SIGKILL and SIGTERM resolve when the process is gone;
   * the data directory stays.
   */
  signal(nodeName: NodeName, signal: KillSignal): Promise<void>;
  /** Starts a node that is not running, on its own data directory. Resolves when it was spawned. */
  start(nodeName: NodeName): Promise<void>;
  /** Null when the node does not answer. */
  health(nodeName: NodeName): Promise<NodeHealth | null>;
  /** Null when the node does not answer. */
  digest(nodeName: NodeName): Promise<NodeDigest | null>;
  /** Null when the node does not answer. */
  rows(nodeName: NodeName): Promise<NodeRows | null>;
  /** The leader of the highest term that any node claims to be; null when there is none. */
  leader(): Promise<LeaderView | null>;
  /** Stops every process. Safe to call twice. */
  stop(): Promise<void>;
}
