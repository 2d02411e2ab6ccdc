/**
 * The replicated list of collections. A name can be reused, a uid (the creating index) never.
 * Beside those that everybody sees it holds hidden ones (hiding.ts), with rows, and no claim to a
 * name.
 */
import type { LogIndex } from '@holdfast/base';
import { must } from '@holdfast/base';
import { PAYLOAD_INDEX_COUNT_MAX } from '@holdfast/protocol';
import type { CollectionDefinition, PayloadIndexDefinition } from '@holdfast/shard-worker';
import type { ChecksumAlgorithm } from '@holdfast/storage';
import type { CollectionSpec } from './command.ts';
import type { CollectionRecord, HiddenCollection, Hiding } from './hiding.ts';

/**
 * Each shard costs a lane memory and files: a cluster with more wants fewer, larger collections.
 * Hidden ones count: they cost the same.
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

/** What changing one collection came to. */
export type ChangeOutcome =
  | { readonly kind: 'changed'; readonly definition: CollectionDefinition }
  | {
      readonly kind: 'refuse';
      readonly code: 'COLLECTION_NOT_FOUND' | 'COLLECTION_EXISTS' | 'COLLECTION_NOT_READY';
    };

export type PublishOutcome =
  | { readonly kind: 'published'; readonly definitions: readonly CollectionDefinition[] }
  | Extract<ChangeOutcome, { readonly kind: 'refuse' }>;

export class Catalogue {
  /** Those that are not hidden. */
  readonly #byName = new Map<string, CollectionDefinition>();
  /** All, in order of creation: a record keeps its place whatever becomes of it. */
  readonly #records = new Map<number, CollectionRecord>();

  /** Of those that everybody sees. */
  get count(): number {
    return this.#byName.size;
  }

  byName(name: string): CollectionDefinition | undefined {
    return this.#byName.get(name);
  }

  /** Also of a hidden one. */
  byUid(uid: number): CollectionDefinition | undefined {
    return this.#records.get(uid)?.definition;
  }

  /** Undefined for one that is not there, or hidden. */
  visible(uid: number): CollectionDefinition | undefined {
    const record = this.#records.get(uid);
    return record?.hiding === null ? record.definition : undefined;
  }

  /** What a write by uid may go to: one that everybody sees, or one that is being restored. */
  writable(uid: number): CollectionDefinition | undefined {
    const record = this.#records.get(uid);
    if (record === undefined) return undefined;
    const isOpen = record.hiding === null || record.hiding.state === 'restoring';
    return isOpen ? record.definition : undefined;
  }

  /** Undefined for one that is not there, or not hidden. */
  hidden(uid: number): HiddenCollection | undefined {
    const record = this.#records.get(uid);
    if (record === undefined || record.hiding === null) return undefined;
    return { definition: record.definition, hiding: record.hiding };
  }

  /** Those that everybody sees, in order of creation. */
  all(): readonly CollectionDefinition[] {
    const visible: CollectionDefinition[] = [];
    for (const { definition, hiding } of this.#records.values())
      if (hiding === null) visible.push(definition);
    return visible;
  }

  get hasHidden(): boolean {
    return this.#records.size > this.#byName.size;
  }

  /** In order of creation. */
  allHidden(): readonly HiddenCollection[] {
    const found: HiddenCollection[] = [];
    for (const { definition, hiding } of this.#records.values())
      if (hiding !== null) found.push({ definition, hiding });
    return found;
  }

  /** Everything that has rows: hidden ones too. In order of creation. */
  stored(): readonly CollectionDefinition[] {
    return [...this.#records.values()].map(({ definition }) => definition);
  }

  /** In order of creation. */
  records(): Iterable<CollectionRecord> {
    return this.#records.values();
  }

  /** With `ifNotExists` an equal collection answers `exists`; another definition never does. */
  create(index: LogIndex, spec: CollectionSpec, ifNotExists: boolean): CreateOutcome {
    const existing = this.#byName.get(spec.name);
    if (existing !== undefined) {
      if (ifNotExists && isSameSpec(existing, spec))
        return { kind: 'exists', definition: existing };
      return { kind: 'refuse', code: 'COLLECTION_EXISTS' };
    }
    return this.#make(index, spec, null);
  }

  /** Its name is only a wish until it is published. */
  createHidden(index: LogIndex, spec: CollectionSpec, hiding: Hiding): CreateOutcome {
    return this.#make(index, spec, hiding);
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
    this.#records.delete(definition.uid);
    return definition;
  }

  /** The name is free at once; the rows stay. Null when there is no such collection. */
  hide(name: string, hiding: Hiding): CollectionDefinition | null {
    const definition = this.#byName.get(name);
    if (definition === undefined) return null;
    this.#byName.delete(name);
    this.#records.set(definition.uid, { definition, hiding });
    return definition;
  }

  /** Brings a dropped collection back, under its old name where `name` is null. */
  undelete(uid: number, name: string | null): ChangeOutcome {
    const record = this.#records.get(uid);
    if (record?.hiding?.state !== 'dropped') return NOT_FOUND;
    return this.#nameIt(record.definition, name ?? record.definition.name);
  }

  rename(name: string, newName: string): ChangeOutcome {
    const definition = this.#byName.get(name);
    if (definition === undefined) return NOT_FOUND;
    const outcome = this.#nameIt(definition, newName);
    if (outcome.kind === 'changed') this.#byName.delete(name);
    return outcome;
  }

  /** What is being restored was compared with its source: nothing is written to it any more. */
  finish(uid: number): ChangeOutcome {
    const record = this.#records.get(uid);
    if (record?.hiding == null || record.hiding.state === 'dropped') return NOT_FOUND;
    const { definition, hiding } = record;
    this.#records.set(uid, { definition, hiding: { ...hiding, state: 'ready' } });
    return { kind: 'changed', definition };
  }

  /** All of them under the names they were made with, or none. */
  publish(uids: readonly number[]): PublishOutcome {
    const names = new Set<string>();
    const definitions: CollectionDefinition[] = [];
    for (const uid of uids) {
      const found = this.hidden(uid);
      if (found === undefined || found.hiding.state === 'dropped') return NOT_FOUND;
      if (found.hiding.state !== 'ready') return { kind: 'refuse', code: 'COLLECTION_NOT_READY' };
      const { name } = found.definition;
      if (this.#byName.has(name) || names.has(name)) return TAKEN;
      names.add(name);
      definitions.push(found.definition);
    }
    for (const definition of definitions) this.#add(definition);
    return { kind: 'published', definitions };
  }

  /**
   * Lets go of a hidden collection. With `cutoffMs` only of one whose time is over by then. False:
   * there is none like that.
   */
  purge(uid: number, cutoffMs: number | null): boolean {
    const found = this.hidden(uid);
    if (found === undefined) return false;
    if (cutoffMs !== null && found.hiding.purgeAtMs > cutoffMs) return false;
    return this.#records.delete(uid);
  }

  /** The collection must exist. An equal index changes nothing, one of another type is refused. */
  createPayloadIndex(uid: number, created: PayloadIndexDefinition): IndexOutcome {
    const definition = must(this.visible(uid), 'an index belongs to a collection');
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
    const definition = must(this.visible(uid), 'an index belongs to a collection');
    const indexes = definition.payloadIndexes ?? [];
    const kept = indexes.filter((index) => index.key !== key);
    if (kept.length === indexes.length) return { kind: 'unchanged' };
    return this.#redefine({ ...definition, payloadIndexes: kept });
  }

  /** In the order of `records`. */
  static fromSnapshot(records: Iterable<CollectionRecord>): Catalogue {
    const catalogue = new Catalogue();
    for (const { definition, hiding } of records) {
      if (hiding === null) catalogue.#add(definition);
      else catalogue.#records.set(definition.uid, { definition, hiding });
    }
    return catalogue;
  }

  #make(index: LogIndex, spec: CollectionSpec, hiding: Hiding | null): CreateOutcome {
    if (this.#records.size >= COLLECTION_COUNT_MAX)
      return { kind: 'refuse', code: 'COLLECTION_LIMIT' };
    const definition: CollectionDefinition = { uid: index, ...spec };
    if (hiding === null) this.#add(definition);
    else this.#records.set(index, { definition, hiding });
    return { kind: 'created', definition };
  }

  #nameIt(definition: CollectionDefinition, name: string): ChangeOutcome {
    if (this.#byName.has(name)) return TAKEN;
    const named = { ...definition, name };
    this.#add(named);
    return { kind: 'changed', definition: named };
  }

  /** The place in the order of creation stays. */
  #redefine(definition: CollectionDefinition): IndexOutcome {
    this.#add(definition);
    return { kind: 'changed', definition };
  }

  #add(definition: CollectionDefinition): void {
    this.#byName.set(definition.name, definition);
    this.#records.set(definition.uid, { definition, hiding: null });
  }
}

const NOT_FOUND = { kind: 'refuse', code: 'COLLECTION_NOT_FOUND' } as const;
const TAKEN = { kind: 'refuse', code: 'COLLECTION_EXISTS' } as const;

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
