/**
 * Saved graphs of one lane: taken back at open, written after checkpoints, a few generations kept.
 * A cache and nothing else: whatever fails here is an event and a graph that is built again, never
 * an error of the lane. Not part of checkpoints and never sent to another node: native files may
 * differ from machine to machine, and building is what a receiver can always do.
 *
 * Saves that a disk refuses again and again are left out for a while: writing gigabytes in vain
 * would take the disk from the log.
 */
import type { CircuitBreakerOptions } from '@holdfast/base';
import { CircuitBreaker, HoldfastError, must } from '@holdfast/base';
import type { FileSystem, Steps } from '@holdfast/storage';
import type { Shard } from '../engine/shard.ts';
import { GRAPH_ROW_COUNT_MIN } from '../graph/build-queue.ts';
import type { Graph, GraphFactory } from '../graph/graph.ts';
import type { GraphEventKind, GraphEventLog } from './events.ts';
import type { GraphCachePlace } from './files.ts';
import {
  GENERATION_COUNT_MAX,
  graphFilePath,
  listGenerations,
  removeGeneration,
  removeLeftovers,
  SIZE_BUDGET_BYTES_DEFAULT,
} from './files.ts';
import { loadGraph } from './load.ts';
import { quarantineGeneration } from './quarantine.ts';
import type { GraphSaveFacts } from './save.ts';
import { saveGraph } from './save.ts';

export interface GraphCacheOptions {
  /** 1..10 generations per shard are kept. */
  readonly generationCountMax: number;
  /** Of one shard; the newest generation is kept whatever its size. */
  readonly sizeBudgetBytes: number;
  /** For the age that metrics show; decides nothing. */
  readonly wallMs: () => number;
  /** When saves that fail are left out, by which clock. Left out: never. */
  readonly saves?: {
    readonly breaker: CircuitBreakerOptions;
    readonly monotonicMs: () => number;
  };
}

export interface GraphCacheParts {
  readonly fs: FileSystem;
  readonly dataDirectory: string;
  readonly factory: GraphFactory;
  readonly options: GraphCacheOptions;
  readonly log: GraphEventLog;
}

/** A first graph this incomplete is not worth writing: most of it would be built again anyway. */
const SAVED_SHARE_MIN = 0.5;

interface Saved {
  readonly graph: Graph;
  readonly changeCount: number;
  /** Null while it is being written. */
  readonly generation: number | null;
}

interface Saving {
  readonly shard: Shard;
  readonly steps: Steps<GraphSaveFacts>;
  readonly timestampMs: number;
}

export class GraphCache {
  readonly #parts: GraphCacheParts;
  /** Shards whose graph is to be saved, and of which log index. */
  readonly #due = new Map<Shard, number>();
  #saving: Saving | null = null;
  /** What the newest generation holds, so that an unchanged graph is not written again. */
  readonly #saved = new WeakMap<Shard, Saved>();
  readonly #savedAtMs = new Map<string, number>();
  /** Shards that wait for a graph which a saved one should have been: rows to be covered. */
  readonly #rebuilding = new Map<Shard, number>();
  readonly #breaker: CircuitBreaker | null;

  constructor(parts: GraphCacheParts) {
    this.#parts = parts;
    const { saves } = parts.options;
    this.#breaker = saves === undefined ? null : new CircuitBreaker(saves.breaker);
  }

  get hasWork(): boolean {
    return this.#saving !== null || this.#due.size > 0;
  }

  /** Age of the oldest of the shards' newest generations; null when none was saved or loaded. */
  get ageMs(): number | null {
    if (this.#savedAtMs.size === 0) return null;
    return Math.max(0, this.#parts.options.wallMs() - Math.min(...this.#savedAtMs.values()));
  }

  /** Gives the shard the newest saved graph that can be used; called once, before it is served. */
  restore(shard: Shard): void {
    const place = this.#placeOf(shard);
    this.#guard(shard, () => {
      removeLeftovers(place);
      const generations = listGenerations(place);
      for (const [generation, kinds] of generations) {
        if (kinds.has('loading'))
          this.#quarantine(shard, generation, 'the process ended while native code read it');
        else if (!kinds.has('json')) removeGeneration(place, generation);
      }
      for (const generation of [...listGenerations(place).keys()].reverse())
        if (this.#tryLoad(shard, generation)) return;
      if (generations.size > 0 && shard.rows.liveCount >= GRAPH_ROW_COUNT_MIN) {
        this.#rebuilding.set(shard, shard.rows.rowCount);
        this.#event('rebuilding', shard, null, 'no saved graph could be used');
      }
    });
  }

  /** Tells of graphs that are there again since the last call. */
  noteRebuilt(): void {
    for (const [shard, rowCount] of this.#rebuilding) {
      // Compactions only make it less: what was to be covered then is covered now.
      if (shard.queue.tailStart < Math.min(rowCount, shard.rows.rowCount)) continue;
      this.#rebuilding.delete(shard);
      this.#event('rebuilt', shard, null, `${shard.queue.graphLiveCount} rows are in it`);
    }
  }

  /** Graphs that have changed will be saved by the `step`s that follow. */
  checkpointed(shards: Iterable<Shard>, logIndex: number): void {
    for (const shard of shards) if (this.#isWorthSaving(shard)) this.#due.set(shard, logIndex);
  }

  /** One bounded step of saving. */
  step(): void {
    const saving = this.#saving ?? this.#begin();
    if (saving === null) return;
    const { shard, steps } = saving;
    let isUnderWay = false;
    const failure = this.#guard(shard, () => {
      const step = steps.next();
      isUnderWay = step.done !== true;
      if (step.done === true) this.#finished(saving, step.value);
    });
    if (failure !== null) this.#failed(failure.code === 'GRAPH_CACHE_SKIPPED');
    if (!isUnderWay) this.#saving = null;
  }

  /** Ends a save under way and leaves nothing of it. */
  close(): void {
    this.#due.clear();
    const saving = this.#saving;
    this.#saving = null;
    if (saving !== null) this.#guard(saving.shard, () => void saving.steps.return(UNFINISHED));
  }

  /** The shard is gone: so is what was to be saved of it. */
  forget(shard: Shard): void {
    this.#due.delete(shard);
    this.#rebuilding.delete(shard);
    this.#savedAtMs.delete(keyOf(shard));
    if (this.#saving?.shard === shard) {
      // The probe ends without a verdict: the next one has to wait as long.
      if (this.#breaker?.state === 'half-open') this.#failed();
      const { steps } = this.#saving;
      this.#saving = null;
      this.#guard(shard, () => void steps.return(UNFINISHED));
    }
  }

  #begin(): Saving | null {
    const next = this.#due.entries().next();
    if (next.done === true) return null;
    const [shard, logIndex] = next.value;
    this.#due.delete(shard);
    if (!this.#isWorthSaving(shard) || !this.#mayTry()) return null;
    const { factory, options } = this.#parts;
    const facts = { logIndex, timestampMs: Math.max(0, Math.floor(options.wallMs())) };
    const graph = must(shard.queue.graph, 'a shard worth saving has a graph');
    this.#saved.set(shard, { graph, changeCount: graph.changeCount, generation: null });
    const steps = saveGraph(this.#placeOf(shard), shard, factory, facts);
    this.#saving = { shard, steps, timestampMs: facts.timestampMs };
    return this.#saving;
  }

  #isWorthSaving(shard: Shard): boolean {
    const { graph, graphLiveCount } = shard.queue;
    if (graph === null || graphLiveCount < shard.rows.liveCount * SAVED_SHARE_MIN) return false;
    const saved = this.#saved.get(shard);
    if (saved?.graph !== graph || saved.changeCount !== graph.changeCount) return true;
    // Taken away since: a scrubber found it damaged.
    const { generation } = saved;
    const place = this.#placeOf(shard);
    return generation !== null && !place.fs.exists(graphFilePath(place, generation, 'json'));
  }

  #finished({ shard, timestampMs }: Saving, { generation }: GraphSaveFacts): void {
    this.#savedAtMs.set(keyOf(shard), timestampMs);
    const saved = this.#saved.get(shard);
    if (saved !== undefined) this.#saved.set(shard, { ...saved, generation });
    this.#breaker?.succeeded();
    this.#event('saved', shard, generation, 'after a checkpoint');
    this.#prune(shard);
  }

  /** Keeps the newest generations within count and budget. */
  #prune(shard: Shard): void {
    const place = this.#placeOf(shard);
    const { generationCountMax, sizeBudgetBytes } = this.#parts.options;
    let keptCount = 0;
    let keptBytes = 0;
    for (const [generation, kinds] of [...listGenerations(place)].reverse()) {
      const path = graphFilePath(place, generation, 'graph');
      keptBytes += kinds.has('graph') ? place.fs.sizeBytes(path) : 0;
      const fits = keptCount < generationCountMax && keptBytes <= sizeBudgetBytes;
      if (keptCount > 0 && !fits) removeGeneration(place, generation);
      else keptCount += 1;
    }
  }

  #tryLoad(shard: Shard, generation: number): boolean {
    const place = this.#placeOf(shard);
    const outcome = loadGraph(place, generation, shard, this.#parts.factory);
    switch (outcome.kind) {
      case 'loaded':
        shard.queue.adopt(outcome.graph);
        this.#savedAtMs.set(keyOf(shard), outcome.sidecar.timestampMs);
        this.#saved.set(shard, {
          graph: outcome.graph,
          changeCount: outcome.graph.changeCount,
          generation,
        });
        this.#event('loaded', shard, generation, `of log index ${outcome.sidecar.logIndex}`);
        return true;
      case 'outdated':
        removeGeneration(place, generation);
        this.#event('outdated', shard, generation, outcome.reason);
        return false;
      case 'damaged':
        this.#quarantine(shard, generation, outcome.reason);
        return false;
    }
  }

  #quarantine(shard: Shard, generation: number, reason: string): void {
    quarantineGeneration(this.#placeOf(shard), generation, reason);
    this.#event('quarantined', shard, generation, reason);
  }

  /** False: too many saves in a row have failed. */
  #mayTry(): boolean {
    const { saves } = this.#parts.options;
    if (this.#breaker === null || saves === undefined) return true;
    return this.#breaker.tryPass(saves.monotonicMs());
  }

  /** `isDecisive`: there is no room, which does not pass in a moment. */
  #failed(isDecisive = false): void {
    const { saves } = this.#parts.options;
    if (saves !== undefined) this.#breaker?.failed(saves.monotonicMs(), isDecisive);
  }

  /** The disk may refuse anything: the graph is then built, and the event says why. */
  #guard(shard: Shard, work: () => void): HoldfastError | null {
    try {
      work();
      return null;
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      this.#saved.delete(shard);
      this.#event('saveFailed', shard, null, error.message);
      return error;
    }
  }

  #event(kind: GraphEventKind, shard: Shard, generation: number | null, reason: string): void {
    const place = this.#placeOf(shard);
    const { uid, shard: number } = place;
    const path =
      generation === null
        ? null
        : graphFilePath(place, generation, 'graph').slice(place.dataDirectory.length + 1);
    this.#parts.log.add({ kind, uid, shard: number, generation, path, reason });
  }

  #placeOf(shard: Shard): GraphCachePlace {
    const { fs, dataDirectory } = this.#parts;
    return { fs, dataDirectory, uid: shard.definition.uid, shard: shard.shard };
  }
}

/** What a node uses. */
export const GRAPH_CACHE_LIMITS = {
  generationCountMax: GENERATION_COUNT_MAX,
  sizeBudgetBytes: SIZE_BUDGET_BYTES_DEFAULT,
} as const;

/** What a save that was ended early would have answered; nobody looks at it. */
const UNFINISHED: GraphSaveFacts = { generation: 0, path: '' };

const keyOf = (shard: Shard): string => `${shard.definition.uid}/${shard.shard}`;
