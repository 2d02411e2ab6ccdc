/**
 * What clusters tell each other through their stores: who took over from whom, and where archives
 * are. The first store of the settings decides a takeover; the others hold copies.
 */
import type { ClusterId, EntryHasher } from '@holdfast/base';
import { HoldfastError } from '@holdfast/base';
import type { SiteEpoch } from '@holdfast/storage';
import {
  decodeSiteEpoch,
  encodeSiteEpoch,
  epochKey,
  epochPrefix,
  numberOfKey,
  openSealed,
  SITE_EPOCH_SIZE_BYTES_MAX,
  sealBytes,
  sealedSizeBytesMax,
} from '@holdfast/storage';
import type { ArchiveSealing } from '../backup/archive/archive-store.ts';
import { ArchiveStore } from '../backup/archive/archive-store.ts';
import { entryTimestampMs } from '../backup/archive/entry-time.ts';
import type { BackupSink, SinkPutOutcome } from '../backup/sinks/sink.ts';
import { bytesSource } from '../backup/sinks/sink.ts';

export interface SiteStoresOptions {
  /** In the order of the setting, at least one. */
  readonly sinks: readonly BackupSink[];
  readonly sealing: ArchiveSealing;
  readonly hasher: EntryHasher;
}

export class SiteStores {
  readonly #options: SiteStoresOptions;
  readonly deciding: BackupSink;
  readonly others: readonly BackupSink[];

  constructor(options: SiteStoresOptions) {
    this.#options = options;
    const [first, ...others] = options.sinks;
    if (first === undefined)
      throw new HoldfastError('CONFIG_INVALID', 'backupSinks names no store');
    this.deciding = first;
    this.others = others;
  }

  get all(): readonly BackupSink[] {
    return [this.deciding, ...this.others];
  }

  archiveIn(
    sink: BackupSink,
    clusterId: ClusterId,
    timeline: string,
    signal: AbortSignal,
  ): ArchiveStore {
    const { hasher, sealing } = this.#options;
    const timestampOf = entryTimestampMs;
    return new ArchiveStore({ sink, clusterId, timeline, sealing, hasher, timestampOf, signal });
  }

  /**
   * The greatest epoch of `clusterId` above `after`; null when there is none.
   * @throws HoldfastError SINK_*, BACKUP_CORRUPT, BACKUP_KEY_WRONG, FORMAT_UNKNOWN
   */
  async newestEpoch(
    sink: BackupSink,
    clusterId: ClusterId,
    after: number,
    signal: AbortSignal,
  ): Promise<SiteEpoch | null> {
    let newest: number | null = null;
    const keys = sink.list(epochPrefix(clusterId), epochKey(clusterId, after), { signal });
    for await (const { key } of keys) {
      const number = numberOfKey(key);
      if (number !== null && key === epochKey(clusterId, number)) newest = number;
    }
    return newest === null ? null : this.readEpoch(sink, clusterId, newest, signal);
  }

  /** Null when there is none. @throws HoldfastError as newestEpoch */
  async readEpoch(
    sink: BackupSink,
    clusterId: ClusterId,
    epoch: number,
    signal: AbortSignal,
  ): Promise<SiteEpoch | null> {
    const key = epochKey(clusterId, epoch);
    const sizeBytesMax = SITE_EPOCH_SIZE_BYTES_MAX;
    const sealed = await sink.get(key, sealedSizeBytesMax(sizeBytesMax), { signal });
    if (sealed === null) return null;
    const { keys } = this.#options.sealing;
    const bytes = await openSealed(sealed, { kind: 'epoch', context: key, keys, sizeBytesMax });
    return decodeSiteEpoch(bytes, { key, clusterId, epoch });
  }

  /** Only if absent: of several that take over one hears `stored`. */
  async putEpoch(sink: BackupSink, epoch: SiteEpoch, signal: AbortSignal): Promise<SinkPutOutcome> {
    const { compression, keys, random } = this.#options.sealing;
    const context = epochKey(epoch.clusterId, epoch.epoch);
    const sealed = await sealBytes(encodeSiteEpoch(epoch), {
      ...{ kind: 'epoch', context, compression, key: keys.current, random },
    });
    return sink.put(context, bytesSource(sealed), { ifAbsent: true, signal });
  }
}
