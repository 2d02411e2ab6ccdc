/**
 * The one interface under which real clusters are tested: processes on loopback, or in a network
 * namespace each (the simulator has its own way, `sim/workload-run.ts`). Nothing above this file
 * knows process ids. What a kind of cluster cannot do is null here, and faults that need it are
 * skipped.
 */
import type { ProxyMode } from '../net/link-mode.ts';
import type { Interposer } from './interposer.ts';
import type { Volume } from './volume.ts';

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

/** The part of the status document by which nodes may contradict each other. */
export interface NodeStatus {
  readonly incarnation: string;
  readonly role: string;
  readonly term: number;
  readonly leader: NodeName | null;
  readonly commitIndex: number;
  readonly appliedIndex: number;
  readonly digest: NodeDigest;
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

/** The lines between the nodes, and between clients and nodes. */
export interface ClusterNetwork {
  /** Why no link can be like that; null when it can. */
  whyNot(mode: ProxyMode): string | null;
  /** The line on which `from` sends to `to`; the line back is another one. Until the next mode. */
  setLink(from: NodeName, to: NodeName, mode: ProxyMode): Promise<void>;
  /** Whether clients can be cut off from nodes. */
  readonly hasClientLinks: boolean;
  /** The lines of all clients to this node. */
  setClients(nodeName: NodeName, mode: ProxyMode): Promise<void>;
  /** Every open connection between these two ends with a reset; they may connect again. */
  resetConnections(from: NodeName, to: NodeName): Promise<void>;
  /** Every line passes again. */
  heal(): Promise<void>;
  /** What lines did to what went over them, in words for people; empty when nothing. */
  describeCounts(): string;
  /** Frames in which bits were flipped so far. */
  readonly corruptionCount: number;
}

export interface Cluster {
  readonly nodeNames: readonly NodeName[];
  /** Public `host:port` of every node, in the order of `nodeNames`: what a client is given. */
  readonly addresses: readonly string[];
  addressOf(nodeName: NodeName): string;
  /** Where the node listens for the others, without what stands in between. */
  peerAddressOf(nodeName: NodeName): string;
  isRunning(nodeName: NodeName): boolean;
  /**
   * Sends a signal to the node's process. SIGKILL and SIGTERM resolve when the process is gone;
   * the data directory stays.
   */
  signal(nodeName: NodeName, signal: KillSignal): Promise<void>;
  /**
   * Starts a node that is not running, on its own data directory, with these variables for this
   * life of it. Resolves when it was spawned.
   */
  start(nodeName: NodeName, environment?: Readonly<Record<string, string>>): Promise<void>;
  /** Null when the node does not answer. */
  health(nodeName: NodeName): Promise<NodeHealth | null>;
  /** Null when the node does not answer. */
  digest(nodeName: NodeName): Promise<NodeDigest | null>;
  /** Null when the node does not answer, or has no replica to tell of. */
  status(nodeName: NodeName): Promise<NodeStatus | null>;
  /** The sum over all labels of a metric; null when the node does not answer. */
  metric(nodeName: NodeName, name: string): Promise<number | null>;
  /** Null when the node does not answer. */
  rows(nodeName: NodeName): Promise<NodeRows | null>;
  /** Null: links cannot be disturbed. */
  readonly network: ClusterNetwork | null;
  /** Between the node and its system calls; null: it was started without. */
  interposerOf(nodeName: NodeName): Interposer | null;
  /** The file system of its own on which the node keeps its data; null: it has none. */
  volumeOf(nodeName: NodeName): Volume | null;
  /** A folder in which all nodes keep backups and the archive of the log; null: they have none. */
  readonly storeDirectory: string | null;
  /** Where the node keeps its data. */
  dataDirectoryOf(nodeName: NodeName): string;
  /** Takes the power of these nodes at one moment; they are down then. Only with ext4 volumes. */
  cutPower(nodeNames: readonly NodeName[]): Promise<void>;
  /** Removes the data of a node that does not run: its next start joins anew. */
  wipe(nodeName: NodeName): void;
  /** Process id, to measure; undefined when the node does not run. */
  pidOf(nodeName: NodeName): number | undefined;
  /** The leader of the highest term that any node claims to be; null when there is none. */
  leader(): Promise<LeaderView | null>;
  /** Stops every process. Safe to call twice. */
  stop(): Promise<void>;
}
