/** The replicated list of collections. A name can be reused, a uid (the creating index) never. */
import type { LogIndex } from '@holdfast/base';
import type { CollectionDefinition } from '@holdfast/shard-worker';
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

  static fromSnapshot(definitions: readonly CollectionDefinition[]): Catalogue {
    const catalogue = new Catalogue();
    for (const definition of definitions) catalogue.#add(definition);
    return catalogue;
  }

  #add(definition: CollectionDefinition): void {
    this.#byName.set(definition.name, definition);
    this.#byUid.set(definition.uid, definition);
  }
}

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
    left.graph.precision === right.graph.precision
  );
}
