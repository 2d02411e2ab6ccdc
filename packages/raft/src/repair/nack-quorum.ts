/**
 * When may a replica give up entries that its disk has lost? Only when no quorum can have counted
 * its acknowledgement of them: when so many other voters never acknowledged them that what is left
 * is no quorum (FAST'18 "Protocol-Aware Recovery", section 3.3.3; the counting is N - quorum + 1).
 *
 * The lost entries may themselves have held one change of the voters (a second is proposed only
 * after the first is committed, which is the very thing that is excluded here). With an even
 * number of voters a quorum of the next configuration can pass by N - quorum + 1 old voters:
 * {r, a} grown to {r, a, d} commits by {r, d} alone, and {r, a, b, c} shrunk to {r, a, b} by {r, a}
 * while b and c say no. So even groups need one more, which a group of two can never have.
 */
import type { ConfState, NodeId } from '@holdfast/base';
import { majorityCount } from '../quorum/majority.ts';

/** How many voters of `voterCount` must say no, the replica that asks not being one of them. */
export function nackCountNeeded(voterCount: number): number {
  const blocking = voterCount - majorityCount(voterCount) + 1;
  return voterCount % 2 === 0 ? blocking + 1 : blocking;
}

/**
 * Do `refusers` block every quorum of every configuration that may have been in force? A joint
 * configuration is blocked by its incoming half: what leaves it needs only that half.
 */
export function isNackQuorum(
  confs: readonly ConfState[],
  own: NodeId,
  refusers: ReadonlySet<NodeId>,
): boolean {
  return confs.every(({ voters }) => {
    const count = voters.filter((id) => id !== own && refusers.has(id)).length;
    return voters.length > 0 && count >= nackCountNeeded(voters.length);
  });
}
