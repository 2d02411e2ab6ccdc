/** The logs of a stopped node as its next start would find them. Writes nothing. */
import type { GroupId } from '@holdfast/base';
import type { FileSystem } from '../fs.ts';
import { DurableGroupLog } from './durable-group-log.ts';
import { establishHardStates } from './hard-state-recovery.ts';
import { RecordSource } from './record-source.ts';
import { scanWal } from './scan.ts';
import type { GroupLog } from './types.ts';
import { DEFAULT_WAL_OPTIONS } from './types.ts';

/** Closes what reading opened. */
export interface ReadLogs {
  readonly groups: ReadonlyMap<GroupId, GroupLog>;
  close(): void;
}

/** @throws HoldfastError WAL_CORRUPT (damage that cannot be described), FORMAT_UNKNOWN, FILE_IO */
export function readLogs(fileSystem: FileSystem, directory: string): ReadLogs {
  const source = new RecordSource(fileSystem, directory);
  const { verifiesEntryChain } = DEFAULT_WAL_OPTIONS;
  const scan = scanWal(fileSystem, directory, source, { cacheSizeBytesMax: 0, verifiesEntryChain });
  const makeLog = (group: GroupId) => new DurableGroupLog(group, source, 0);
  const { groups } = establishHardStates(fileSystem, directory, scan, makeLog);
  return { groups, close: () => source.close() };
}
