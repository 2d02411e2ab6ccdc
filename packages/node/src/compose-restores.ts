/** Restores of collections that a node is asked for: the concrete side of `NodeRestores`. */
import { randomUUID } from 'node:crypto';
import { joinPath } from '@holdfast/storage';
import type { BackupPlace } from './assemble-parts.ts';
import { BACKUP_DIRECTORY_NAME } from './backup/checkpoint-source.ts';
import { ChildRestoreWorker } from './backup/restore/child-worker.ts';
import { NodeRestores } from './backup/restore/node-restores.ts';
import type { BackupSeams } from './compose-backup.ts';
import { formatEndpoint, isWildcardHost, parseEndpoint } from './config/endpoint.ts';
import type { NodeConfig } from './config/options.ts';
import type { NodeService } from './service-api.ts';

export interface RestoresPlace {
  /** Left out where no store is named. */
  readonly backup?: BackupPlace;
  readonly service: NodeService;
  /** Where this node listens for clients, host:port; asked once it does. */
  readonly address: () => string;
}

/** Null when no store is named. */
export function makeRestores(
  config: NodeConfig,
  { clock, fileSystem, logger, timers }: BackupSeams,
  { address, backup, service }: RestoresPlace,
): NodeRestores | null {
  if (backup === undefined) return null;
  const { apiKeyFile, backupKeyFile, backupOlderKeyFiles = [], backupSinks = [] } = config;
  const sources = backup.stores.sinks.map(({ name }, i) => ({ name, url: backupSinks[i] ?? name }));
  const workDirectory = workDirectoryOf(config);
  const worker = new ChildRestoreWorker({
    ...{ workDirectory, timers, apiKeyFile: apiKeyFile ?? null },
    urls: new Map(sources.map(({ name, url }) => [name, url])),
    keyFiles: backupKeyFile === undefined ? [] : [backupKeyFile, ...backupOlderKeyFiles],
    addresses: () => [dialled(address()), ...othersOf(service)],
    prepare: () => {
      fileSystem.removeTree(workDirectory);
      fileSystem.makeDirectory(workDirectory);
    },
  });
  return new NodeRestores({ service, worker, sources, clock, logger, mintRestoreId: randomUUID });
}

/** What a crash leaves below the folder of backups goes at the next start. */
function workDirectoryOf({ backupVerifyDirectory, data, nodeId }: NodeConfig): string {
  return backupVerifyDirectory === undefined
    ? joinPath(data, BACKUP_DIRECTORY_NAME, 'collections')
    : joinPath(backupVerifyDirectory, `holdfast-${nodeId}-collections`);
}

function othersOf(service: NodeService): readonly string[] {
  const own = service.status().nodeId;
  return service
    .members()
    .flatMap(({ nodeId, publicAddress }) =>
      nodeId === own || publicAddress === null ? [] : [publicAddress],
    );
}

/** Who listens everywhere is reached on loopback from its own machine. */
function dialled(address: string): string {
  const endpoint = parseEndpoint(address);
  if (endpoint === null || !isWildcardHost(endpoint.host)) return address;
  const host = endpoint.host === '::' ? '::1' : '127.0.0.1';
  return formatEndpoint({ ...endpoint, host });
}
