/** What GET /health says, as a pure function of the node's status. */
import { isUnsafeSyncMode } from '@holdfast/storage';
import type { NodeStatus } from '../service-api.ts';

export interface HealthReport {
  readonly isHealthy: boolean;
  readonly body: {
    readonly status: 'ok' | 'unavailable';
    readonly nodeId: string;
    readonly role: string;
    readonly membership: string;
    readonly term: number;
    readonly leader: string | null;
    readonly appliedIndex: number;
    readonly commitIndex: number;
    /** Committed entries that this node has not applied yet. */
    readonly lagEntries: number;
    readonly reason: string | null;
    /** `unsafe`: a power cut may take acknowledged writes, as the operator has allowed. */
    readonly durability: 'synced' | 'unsafe' | null;
  };
}

export function healthOf(status: NodeStatus): HealthReport {
  const reason = whyUnavailable(status);
  return {
    isHealthy: reason === null,
    body: {
      status: reason === null ? 'ok' : 'unavailable',
      nodeId: status.nodeId,
      role: status.role,
      membership: status.membership,
      term: status.term,
      leader: status.leader,
      appliedIndex: status.appliedIndex,
      commitIndex: status.commitIndex,
      lagEntries: Math.max(0, status.commitIndex - status.appliedIndex),
      reason,
      durability: durabilityOf(status.wal),
    },
  };
}

function durabilityOf({ syncMode }: NodeStatus['wal']): HealthReport['body']['durability'] {
  if (syncMode === null) return null;
  return isUnsafeSyncMode(syncMode) ? 'unsafe' : 'synced';
}

function whyUnavailable(status: NodeStatus): string | null {
  if (status.failure !== null) return status.failure;
  if (status.recovery !== null) return status.recovery;
  if (status.membership === 'joining') return 'the node waits to be added to the cluster';
  if (status.membership === 'removed') return 'the node was removed from the cluster';
  if (status.leader === null) return 'no leader is known';
  return status.isReady ? null : 'the node is not ready yet';
}
