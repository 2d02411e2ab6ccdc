export { LANE_FAULT_IDS } from '@holdfast/shard-worker/testing';
export type { ArchiveAudit, AuditedBackup } from '../backup/testing/archive-audit.ts';
export { auditArchive } from '../backup/testing/archive-audit.ts';
export { AZURITE_ACCOUNT, AZURITE_KEY, AzuriteServer } from '../backup/testing/azurite-server.ts';
export {
  CEPH_ACCESS_KEY_ID,
  CEPH_SECRET_ACCESS_KEY,
  CephServer,
  cephMissing,
} from '../backup/testing/ceph-server.ts';
export type { Fault, ProxiedRequest } from '../backup/testing/fault-proxy.ts';
export { FaultProxy } from '../backup/testing/fault-proxy.ts';
export { openSinkForTests } from '../backup/testing/open-sink-for-tests.ts';
export { PatternSource } from '../backup/testing/pattern-source.ts';
export type { PlainS3 } from '../backup/testing/plain-s3.ts';
export { openPlainS3 } from '../backup/testing/plain-s3.ts';
export type { SinkCase, SinkExpect, SinkWorld } from '../backup/testing/sink-conformance.ts';
export { sinkConformance } from '../backup/testing/sink-conformance.ts';
export type { ScrubTarget } from '../heal/scrub-targets.ts';
export { isFatalForNode } from '../replica/checkpoint-failure.ts';
export type { EntryFacts } from './entry-facts.ts';
export { describeMessage, entryFacts } from './entry-facts.ts';
export type { RestoreOutcome } from './sim-archive.ts';
export { rowDigests, SimArchive } from './sim-archive.ts';
export type { SimClientEnd, SimClientHandlers } from './sim-client-network.ts';
export { SimClientNetwork } from './sim-client-network.ts';
export type { ClusterObserver, SimBackupOptions, SimClusterOptions } from './sim-cluster.ts';
export { SimCluster } from './sim-cluster.ts';
export { SimDevice } from './sim-device.ts';
export { filesOnDisk, flawsOf, segmentsOf } from './sim-disk.ts';
export type { SimNodeState } from './sim-node.ts';
export { DATA_DIRECTORY, SimNode } from './sim-node.ts';
export { SimProcess } from './sim-process.ts';
export { SimScheduler } from './sim-scheduler.ts';
export type { StoreMood, StoreObserver } from './sim-store.ts';
export { SimStore } from './sim-store.ts';
export type { MessageFate, NetworkObserver, Weather } from './sim-transport.ts';
export { FAIR_WEATHER, SimNetwork, SimTransport } from './sim-transport.ts';
export { ClusterWatch } from './watch/cluster-watch.ts';
