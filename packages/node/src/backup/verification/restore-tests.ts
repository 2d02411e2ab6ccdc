/**
 * The tries of restores that one node knows of: one result per store here, all of them in the
 * store.
 */
import type { RestoreTestResult } from '@holdfast/storage';
import type { NodeBackupOptions } from '../node-backup-options.ts';
import type { BackupSink } from '../sinks/sink.ts';
import type { RestoreTestPlace } from './restore-test-store.ts';
import { listRestoreTests } from './restore-test-store.ts';

import type { RestoreTestStatus } from './verify-newest.ts';
import { lastGoodTestMs } from './verify-newest.ts';

export class RestoreTests {
  readonly #options: Pick<NodeBackupOptions, 'identity' | 'randomBytes' | 'stores'>;
  readonly #newest = new Map<string, RestoreTestStatus>();

  constructor(options: Pick<NodeBackupOptions, 'identity' | 'randomBytes' | 'stores'>) {
    this.#options = options;
  }

  /** The newest of each store that this node has made or seen. */
  statuses(): readonly RestoreTestStatus[] {
    return [...this.#newest.values()];
  }

  note(sink: string, result: RestoreTestResult): void {
    this.#newest.set(sink, { sink, ...result });
  }

  /** All that are kept, newest first in each store. @throws HoldfastError SINK_*, BACKUP_* */
  async list(): Promise<readonly RestoreTestStatus[]> {
    const lists = this.#options.stores.sinks.map(async (sink) => {
      const results = await listRestoreTests(this.placeIn(sink));
      return results.map((result) => ({ sink: sink.name, ...result }));
    });
    return (await Promise.all(lists)).flat();
  }

  /** When one last went well there; null: never, as far as the store says. */
  async lookInto(sink: BackupSink, signal: AbortSignal): Promise<number | null> {
    const { goodMs, newest } = await lastGoodTestMs(this.placeIn(sink), signal);
    if (newest !== null) this.note(sink.name, newest);
    return goodMs;
  }

  placeIn(sink: BackupSink): RestoreTestPlace {
    const { identity, randomBytes, stores } = this.#options;
    const { compression, keys } = stores;
    const { clusterId } = identity;
    return { sink, clusterId, sealing: { compression, keys, random: randomBytes } };
  }
}
