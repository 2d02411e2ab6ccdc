/** The replicated list of collections. A name can be reused, a uid (the creating index) never. */
import type { LogIndex } from '@holdfast/base';
import { must } from '@holdfast/base';
import { PAYLOAD_INDEX_COUNT_MAX } from '@holdfast/protocol';
import type { CollectionDefinition, PayloadIndexDefinition } from '@holdfast/shard-worker';
import type { ChecksumAlgorithm } from '@holdfast/storage';
import type { CollectionSpec } from './command.ts';

/**
 * Each shard costs a lane memory and files: a cluster with more wants fewer, larger collections.
 */
export const COLLECTION_COUNT_MAX = 1_000;

export type CreateOutcome =
  | { readonly kind: 'created'; readonly definition: CollectionDefinition }
  | { readonly kind: 'exists'; readonly definition: CollectionDefinition }
  | { readonly kind: 'refuse'; readonly code: 'COLLECTION_EXISTS' | 'COLLECTION_LIMIT' };

export type IndexOutcome =
  | { readonly kind: 'changed'; readonly definition: CollectionDefinition }
  | { readonly kind: 'unchanged' }
  | { readonly kind: 'refuse'; readonly code: 'PAYLOAD_INDEX_EXISTS' | 'PAYLOAD_INDEX_LIMIT' };

export class Catalogue {
  readonly #byName = new Map<string, CollectionDefinition>();
  readonly #byUid = new Map<number, CollectionDefinition>();

  get count(): number {
    return this.#byUid.size;
  }

  byName(name: string): CollectionDefinition | undefined {
    return this.#byName.get(name);
  }

  byUid(uid: number): CollectionDefinition | undefined {
    return this.#byUid.get(uid);
  }

  /** In order of creation. */
  all(): readonly CollectionDefinition[] {
    return [...this.#byUid.values()];
  }

  /** With `ifNotExists` an equal collection answers `exists`; another definition never does. */
  create(index: LogIndex, spec: CollectionSpec, ifNotExists: boolean): CreateOutcome {
    const existing = this.#byName.get(spec.name);
    if (existing !== undefined) {
      if (ifNotExists && isSameSpec(existing, spec))
        return { kind: 'exists', definition: existing };
      return { kind: 'refuse', code: 'COLLECTION_EXISTS' };
    }
    if (this.#byUid.size >= COLLECTION_COUNT_MAX)
      return { kind: 'refuse', code: 'COLLECTION_LIMIT' };
    const definition: CollectionDefinition = { uid: index, ...spec };
    this.#add(definition);
    return { kind: 'created', definition };
  }

  /** Null when there is no such collection. */
  update(name: string, checksumAlgorithm: ChecksumAlgorithm): CollectionDefinition | null {
    const definition = this.#byName.get(name);
    if (definition === undefined) return null;
    const changed = { ...definition, checksumAlgorithm };
    this.#add(changed);
    return changed;
  }

  drop(name: string): CollectionDefinition | null {
    const definition = this.#byName.get(name);
    if (definition === undefined) return null;
    this.#byName.delete(name);
    this.#byUid.delete(definition.uid);
    return definition;
  }

  /** The collection must exist. An equal index changes nothing, one of another type is refused. */
  createPayloadIndex(uid: number, created: PayloadIndexDefinition): IndexOutcome {
    const definition = must(this.#byUid.get(uid), 'an index belongs to a collection');
    const indexes = definition.payloadIndexes ?? [];
    const existing = indexes.find(({ key }) => key === created.key);
    if (existing?.type === created.type) return { kind: 'unchanged' };
    if (existing !== undefined) return { kind: 'refuse', code: 'PAYLOAD_INDEX_EXISTS' };
    if (indexes.length >= PAYLOAD_INDEX_COUNT_MAX)
      return { kind: 'refuse', code: 'PAYLOAD_INDEX_LIMIT' };
    return this.#redefine({ ...definition, payloadIndexes: [...indexes, created] });
  }

  /** The collection must exist. */
  dropPayloadIndex(uid: number, key: string): IndexOutcome {
    const definition = must(this.#byUid.get(uid), 'an index belongs to a collection');
    const indexes = definition.payloadIndexes ?? [];
    const kept = indexes.filter((index) => index.key !== key);
    if (kept.length === indexes.length) return { kind: 'unchanged' };
    return this.#redefine({ ...definition, payloadIndexes: kept });
  }

  static fromSnapshot(definitions: readonly CollectionDefinition[]): Catalogue {
    const catalogue = new Catalogue();
    for (const definition of definitions) catalogue.#add(definition);
    return catalogue;
  }

  /** The place in the order of creation stays. */
  #redefine(definition: CollectionDefinition): IndexOutcome {
    this.#add(definition);
    return { kind: 'changed', definition };
  }

  #add(definition: CollectionDefinition): void {
    this.#byName.set(definition.name, definition);
    this.#byUid.set(definition.uid, definition);
  }
}

/** More indexes than were asked for are no other collection: they change no answer. */
function hasIndexes(spec: CollectionSpec, wanted: readonly PayloadIndexDefinition[]): boolean {
  return wanted.every(({ key, type }) =>
    spec.payloadIndexes?.some((index) => index.key === key && index.type === type),
  );
}

/** True when `left`, which exists, is what `right` asks for. */
function isSameSpec(left: CollectionSpec, right: CollectionSpec): boolean {
  return (
    left.dimension === right.dimension &&
    left.metric === right.metric &&
    left.shardCount === right.shardCount &&
    left.checksumAlgorithm === right.checksumAlgorithm &&
    left.hnsw.m === right.hnsw.m &&
    left.hnsw.efConstruction === right.hnsw.efConstruction &&
    left.hnsw.efSearch === right.hnsw.efSearch &&
    left.graph.engine === right.graph.engine &&
    left.graph.precision === right.graph.precision &&
    hasIndexes(left, right.payloadIndexes ?? [])
  );
}
