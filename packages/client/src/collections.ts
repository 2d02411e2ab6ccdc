/**
 * Names of collections, drops that can be taken back, and collections that are restored beside live
 * data: hidden until they are published. Hidden ones are named by uid, the log index of the entry
 * that created them (`createdIndex`).
 */
import type {
  CreateCollectionResult,
  DigestCollectionResult,
  FinishCollectionResult,
  HiddenCollectionDescription,
  OutgoingRequestOf,
  PublishCollectionsResult,
  PurgeCollectionResult,
  RenameCollectionResult,
  RequestOf,
  ResultOf,
  UndeleteCollectionResult,
  UpsertResult,
} from '@holdfast/protocol';
import { checkUp } from '@holdfast/protocol';
import type { PointInput, Run } from './collection.ts';
import { copyPoint } from './collection.ts';
import type { RequestOptions } from './options.ts';

export interface UndeleteOptions extends RequestOptions {
  /** Default: the name it had. */
  readonly name?: string;
}

export interface DigestOptions extends RequestOptions {
  /** Of a hidden collection. */
  readonly uid?: number;
}

/** A hidden collection that takes points. */
export interface HiddenTarget {
  /** The name it was created with. */
  readonly name: string;
  readonly uid: number;
}

/** What its source has, and a restored collection must have. */
export interface ExpectedContent {
  readonly pointCount: number;
  readonly digest: string;
}

/** As for createCollection. */
export type HiddenDefinition = Omit<
  OutgoingRequestOf<'createCollection'>,
  'id' | 'kind' | 'timeoutMs' | 'session' | 'isHidden' | 'ifNotExists'
>;

type WriteKind =
  | 'createCollection'
  | 'undeleteCollection'
  | 'renameCollection'
  | 'purgeCollection'
  | 'finishCollection'
  | 'publishCollections'
  | 'upsert';

type Fields<Kind extends WriteKind> = Omit<
  OutgoingRequestOf<Kind>,
  'id' | 'kind' | 'timeoutMs' | 'session'
>;

export class Collections {
  readonly #run: Run;

  constructor(run: Run) {
    this.#run = run;
  }

  /** In order of creation. Dropped ones can be undeleted until `purgeAtMs` of log time. */
  async hidden(options: RequestOptions = {}): Promise<readonly HiddenCollectionDescription[]> {
    const message = { kind: 'listCollections', includeDeleted: true } as const;
    const { hidden } = await this.#run(
      {
        kind: 'listCollections',
        target: { kind: 'leader' },
        isWrite: false,
        message: (_stamp, timeoutMs) => ({ ...message, timeoutMs }),
      },
      options,
    );
    return hidden ?? [];
  }

  /**
   * Brings a dropped collection back, with all its points as they were.
   * @throws HoldfastError COLLECTION_NOT_FOUND when its time is over, COLLECTION_EXISTS when the
   *   name belongs to another one by now
   */
  undelete(uid: number, options: UndeleteOptions = {}): Promise<UndeleteCollectionResult> {
    const { name } = options;
    const fields = { uid, ...(name === undefined ? {} : { name }) };
    return this.#write('undeleteCollection', fields, options);
  }

  /**
   * At one moment for everybody: no request sees both names, or none.
   * @throws HoldfastError COLLECTION_NOT_FOUND, COLLECTION_EXISTS
   */
  rename(
    name: string,
    newName: string,
    options: RequestOptions = {},
  ): Promise<RenameCollectionResult> {
    return this.#write('renameCollection', { name, newName }, options);
  }

  /** Lets go of a hidden collection now, for good. Of what is not hidden: `isPurged: false`. */
  purge(uid: number, options: RequestOptions = {}): Promise<PurgeCollectionResult> {
    return this.#write('purgeCollection', { uid }, options);
  }

  /**
   * Reads every point. Two collections have equal digests exactly if they have the same ids,
   * vectors and payloads, wherever and whenever these were written.
   * @throws HoldfastError COLLECTION_NOT_FOUND, OVERLOADED while it is written
   */
  digest(collection: string, options: DigestOptions = {}): Promise<DigestCollectionResult> {
    const { uid } = options;
    const fields = { collection, ...(uid === undefined ? {} : { uid }) };
    const kind = 'digestCollection';
    checkUp({ id: 0, kind, ...fields });
    const message = (_stamp: unknown, timeoutMs: number) =>
      ({ kind, ...fields, timeoutMs }) as const;
    return this.#run({ kind, target: { kind: 'leader' }, isWrite: false, message }, options);
  }

  /** Creates a collection that nobody sees and that takes no name; its uid is `createdIndex`. */
  createHidden(
    definition: HiddenDefinition,
    options: RequestOptions = {},
  ): Promise<CreateCollectionResult> {
    return this.#write('createCollection', { ...definition, isHidden: true }, options);
  }

  /** As `Collection.upsert`, into a hidden collection. */
  upsertHidden(
    { name, uid }: HiddenTarget,
    points: readonly PointInput[],
    options: RequestOptions = {},
  ): Promise<UpsertResult> {
    const checked = checkUp({ id: 0, kind: 'upsert', collection: name, uid, points });
    const copies = (checked as RequestOf<'upsert'>).points.map(copyPoint);
    return this.#send('upsert', { collection: name, uid, points: copies }, options);
  }

  /**
   * Ends writing, once the cluster has found the points to be those of the source.
   * @throws HoldfastError COLLECTION_NOT_READY when they are not, COLLECTION_NOT_FOUND
   */
  finish(
    uid: number,
    { digest, pointCount }: ExpectedContent,
    options: RequestOptions = {},
  ): Promise<FinishCollectionResult> {
    return this.#write('finishCollection', { uid, digest, pointCount }, options);
  }

  /**
   * Makes finished collections visible under the names they were created with: all or none.
   * @throws HoldfastError COLLECTION_EXISTS, COLLECTION_NOT_READY, COLLECTION_NOT_FOUND
   */
  publish(
    uids: readonly number[],
    options: RequestOptions = {},
  ): Promise<PublishCollectionsResult> {
    return this.#write('publishCollections', { uids: [...uids] }, options);
  }

  #write<Kind extends WriteKind>(
    kind: Kind,
    fields: Fields<Kind>,
    options: RequestOptions,
  ): Promise<ResultOf<Kind>> {
    checkUp({ id: 0, kind, ...fields });
    return this.#send(kind, fields, options);
  }

  #send<Kind extends WriteKind>(
    kind: Kind,
    fields: Fields<Kind>,
    options: RequestOptions,
  ): Promise<ResultOf<Kind>> {
    return this.#run(
      {
        kind,
        target: { kind: 'leader' },
        isWrite: true,
        message: (stamp, timeoutMs) =>
          ({ kind, ...fields, timeoutMs, ...(stamp === null ? {} : { session: stamp }) }) as never,
      },
      options,
    );
  }
}
