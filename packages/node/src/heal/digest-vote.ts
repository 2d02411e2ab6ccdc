/**
 * Compares what the replicas say their shards came to after one entry. Pure.
 *
 * A shard of this replica has diverged only when a strict majority of the voters of the
 * configuration report one and the same digest and ours is another. Without such a majority nobody
 * is right: that is an alarm, and nothing is given up. Learners may report; they never count.
 */
import type { NodeId } from '@holdfast/base';
import type { CareShardDigest } from '@holdfast/protocol';

export type DigestVerdict =
  /** Too few have reported. */
  | { readonly kind: 'pending' }
  /** Every voter has reported, and all agree. */
  | { readonly kind: 'equal' }
  /** We agree with the majority about everything; these voters do not. */
  | { readonly kind: 'othersDiverged'; readonly nodes: readonly NodeId[] }
  | { readonly kind: 'diverged'; readonly shards: readonly DivergedShard[] }
  /** Every voter has reported, and for these shards no digest has a majority. */
  | { readonly kind: 'noMajority'; readonly shards: readonly string[] };

export interface DivergedShard {
  /** uid/shard. */
  readonly key: string;
  /** '' when this replica has no such shard. */
  readonly own: string;
  readonly majority: string;
}

/** Entries whose reports are kept: replicas apply one soon after the other. */
const INDEX_COUNT_MAX = 16;

type Digests = ReadonlyMap<string, string>;

export class DigestVote {
  readonly #self: NodeId;
  readonly #reports = new Map<number, Map<NodeId, Digests>>();

  constructor(self: NodeId) {
    this.#self = self;
  }

  /** A later report of the same node about the same entry replaces the first. */
  add(from: NodeId, index: number, shards: readonly CareShardDigest[]): void {
    let reports = this.#reports.get(index);
    if (reports === undefined) {
      reports = new Map();
      this.#reports.set(index, reports);
      if (this.#reports.size > INDEX_COUNT_MAX) this.#forgetOldest();
    }
    reports.set(from, new Map(shards.map(({ digest, shard, uid }) => [`${uid}/${shard}`, digest])));
  }

  verdict(index: number, voters: readonly NodeId[]): DigestVerdict {
    const reports = this.#reports.get(index);
    const own = reports?.get(this.#self);
    if (reports === undefined || own === undefined) return { kind: 'pending' };
    const heard = voters.flatMap((voter) => {
      const digests = reports.get(voter);
      return digests === undefined ? [] : [{ voter, digests }];
    });
    const isComplete = heard.length === voters.length;
    const keys = new Set([...own.keys(), ...heard.flatMap(({ digests }) => [...digests.keys()])]);
    const diverged: DivergedShard[] = [];
    const undecided: string[] = [];
    const odd = new Set<NodeId>();
    for (const key of keys) {
      const majority = majorityOf(
        heard.map(({ digests }) => digests.get(key) ?? ''),
        voters.length,
      );
      const mine = own.get(key) ?? '';
      if (majority === null) undecided.push(key);
      else if (majority !== mine) diverged.push({ key, own: mine, majority });
      else for (const one of heard) if (one.digests.get(key) !== majority) odd.add(one.voter);
    }
    if (diverged.length > 0) return { kind: 'diverged', shards: diverged };
    if (!isComplete) return { kind: 'pending' };
    if (undecided.length > 0) return { kind: 'noMajority', shards: undecided };
    return odd.size > 0 ? { kind: 'othersDiverged', nodes: [...odd] } : { kind: 'equal' };
  }

  #forgetOldest(): void {
    this.#reports.delete(Math.min(...this.#reports.keys()));
  }
}

/** The digest that more than half of all voters report; null when there is none. */
function majorityOf(digests: readonly string[], voterCount: number): string | null {
  const counts = new Map<string, number>();
  for (const digest of digests) counts.set(digest, (counts.get(digest) ?? 0) + 1);
  for (const [digest, count] of counts) if (count * 2 > voterCount) return digest;
  return null;
}
