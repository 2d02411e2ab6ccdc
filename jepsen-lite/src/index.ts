export type { AvailabilityLimits, WriteGap } from './checker/availability.ts';
export { judgeAvailability, writeGapsOf } from './checker/availability.ts';
export { judgeLinearizable, judgeRegister } from './checker/linearizable.ts';
export type { RegisterCall, RegisterOperation } from './checker/register-model.ts';
export { judgeAgreement } from './checker/replica-agreement.ts';
export { judgeSet } from './checker/set.ts';
export type { InvalidExample, Verdict } from './checker/verdict.ts';
export { worstOf } from './checker/verdict.ts';
export { digestsAtOneIndex, expectEqualDigests } from './cluster/agreement.ts';
export type {
  Cluster,
  ClusterNetwork,
  KillSignal,
  LeaderView,
  NodeDigest,
  NodeHealth,
  NodeName,
} from './cluster/cluster.ts';
export { findFreePorts } from './cluster/free-ports.ts';
export { readJson, readText } from './cluster/node-http.ts';
export type { ProcessClusterOptions } from './cluster/process-cluster.ts';
export { ProcessCluster } from './cluster/process-cluster.ts';
export {
  fileSystemTypeOf,
  isMemoryFileSystem,
  makeScratchDirectory,
  removeScratchDirectory,
} from './cluster/scratch-directory.ts';
export type { ServerSettings } from './cluster/server-command.ts';
export { untilArchived } from './drill/archived.ts';
export { withProofStore } from './drill/proof-store.ts';
export type { RebuildOptions, RebuildPhase, Rebuilt } from './drill/rebuild.ts';
export { keepSecret, loseEverything, rebuild } from './drill/rebuild.ts';
export type { HistoryEvent, Operation, Outcome } from './history.ts';
export { finishedOperations, History } from './history.ts';
export type { LinkShape, ProxyMode } from './net/link-mode.ts';
export { PERFECT_LINE, shaped } from './net/link-mode.ts';
export type { RelayDecision, RelayFilter } from './net/message-relay.ts';
export { MessageRelay } from './net/message-relay.ts';
export { TcpProxy } from './net/tcp-proxy.ts';
export type { Figure, TargetCheck } from './numbers/figure.ts';
export { atLeast, atMost, below, figure, formatNumber } from './numbers/figure.ts';
export type { FigureGroup } from './numbers/figure-table.ts';
export { renderTable } from './numbers/figure-table.ts';
export { pause, waitFor } from './wait.ts';
