/** Which settings must fit each other. */
import { isUnsafeSyncMode } from '@holdfast/storage';
import type { NodeConfig, OptionKey } from './options.ts';

export interface BrokenRelation {
  readonly key: OptionKey;
  readonly message: string;
}

/** Settings that are each fine but not together; the first broken relation, or null. */
export function brokenRelation(config: NodeConfig): BrokenRelation | null {
  const { tickIntervalMs, heartbeatIntervalMs, electionTimeoutMs } = config;
  if (heartbeatIntervalMs < tickIntervalMs)
    return {
      key: 'heartbeatIntervalMs',
      message: `must be at least tickIntervalMs (${tickIntervalMs})`,
    };
  if (electionTimeoutMs <= 3 * heartbeatIntervalMs)
    return {
      key: 'electionTimeoutMs',
      message: `must be more than 3 x heartbeatIntervalMs (${3 * heartbeatIntervalMs})`,
    };
  if (config.inflightRequestCountMaxPerConnection > config.inflightRequestCountMax)
    return {
      key: 'inflightRequestCountMaxPerConnection',
      message: `must not exceed inflightRequestCountMax (${config.inflightRequestCountMax})`,
    };
  if (config.checkpointLogSizeBytes < config.walFileSizeBytes)
    return {
      key: 'checkpointLogSizeBytes',
      message: `must be at least walFileSizeBytes (${config.walFileSizeBytes})`,
    };
  if (isUnsafeSyncMode(config.walSyncMode) && !config.unsafeDurability)
    return {
      key: 'walSyncMode',
      message: `${config.walSyncMode} may lose acknowledged writes; it needs unsafeDurability`,
    };
  if (config.fenceAgeMaxMs < 2 * config.fenceLookIntervalMs)
    return {
      key: 'fenceAgeMaxMs',
      message: `must be at least 2 x fenceLookIntervalMs (${2 * config.fenceLookIntervalMs})`,
    };
  const { listen, peerListen } = config;
  if (listen.port !== 0 && listen.port === peerListen.port && listen.host === peerListen.host)
    return { key: 'peerListen', message: 'must differ from listen: the two ports are separate' };
  return null;
}
