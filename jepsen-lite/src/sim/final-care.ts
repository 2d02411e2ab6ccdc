/**
 * What must be true of the disks in the end: a last scrub finds and repairs what is left, nothing
 * stays damaged, and sealed segments are equal on every replica, byte for byte.
 */
import type { SimCluster, SimNode } from '@holdfast/node/testing';
import { flawsOf, segmentsOf } from '@holdfast/node/testing';
import type { RareState } from './rare-state-table.ts';

/** Passes until a disk is whole: what a first one repairs the second one looks at. */
const PASS_COUNT_MAX = 4;

export class FinalCare {
  readonly #cluster: SimCluster;
  readonly #onProblem: (problem: string) => void;
  readonly #count: (state: RareState) => void;

  constructor(parts: {
    readonly cluster: SimCluster;
    readonly onProblem: (problem: string) => void;
    readonly count: (state: RareState) => void;
  }) {
    this.#cluster = parts.cluster;
    this.#onProblem = parts.onProblem;
    this.#count = parts.count;
  }

  /** Every node is up, and nobody writes. */
  async check(when: string): Promise<void> {
    const { nodes } = this.#cluster;
    for (const node of nodes) await this.#makeWhole(when, node);
    for (const node of nodes) await this.#resolve(node.node.replica.checkpoint());
    this.#compareSegments(when);
  }

  async #makeWhole(when: string, node: SimNode): Promise<void> {
    const { recoveries, scrubber } = node.node.care;
    for (let passCount = 0; passCount < PASS_COUNT_MAX; passCount++) {
      recoveries.retryParked();
      if (scrubber !== null) await this.#resolve(scrubber.run());
      await this.#resolve(recoveries.idle());
      if (flawsOf(node).length === 0) return;
    }
    this.#onProblem(`${when}: the disk of ${node.id} stays damaged: ${flawsOf(node).join('; ')}`);
  }

  #compareSegments(when: string): void {
    const [first, ...others] = this.#cluster.nodes;
    if (first === undefined) return;
    const wanted = segmentsOf(first);
    if (hasGap([...wanted.keys()])) this.#count('segmentsMerged');
    for (const node of others) {
      for (const [path, bytes] of segmentsOf(node)) {
        const known = wanted.get(path);
        if (known === undefined) continue;
        this.#count('segmentsMeet');
        if (Buffer.compare(known, bytes) !== 0)
          this.#onProblem(`${when}: ${path} of ${node.id} differs from that of ${first.id}`);
      }
    }
  }

  #resolve<Value>(promise: Promise<Value>): Promise<Value> {
    return this.#cluster.scheduler.resolve(promise);
  }
}

/** Ordinals count up in each shard; those of merged segments are gone. */
function hasGap(paths: readonly string[]): boolean {
  const counts = new Map<string, { count: number; highest: number }>();
  for (const path of paths) {
    const [, shard = '', ordinal = ''] = /^(.*)\/segment-(\d+)\.seg$/.exec(path) ?? [];
    const known = counts.get(shard) ?? { count: 0, highest: 0 };
    counts.set(shard, {
      count: known.count + 1,
      highest: Math.max(known.highest, Number(ordinal)),
    });
  }
  return [...counts.values()].some(({ count, highest }) => count < highest);
}
