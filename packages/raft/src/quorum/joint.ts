/**
 * Joint consensus (thesis section 4.3): while two member sets overlap in time, every decision needs
 * a majority of each. Outside a joint change the outgoing set is empty and agrees to everything.
 */
import { majorityReached, majorityVote, type VoteResult } from './majority.ts';

/** Sorts both arrays in place. Infinity only when both sets are empty. */
export const jointReached = (incoming: number[], outgoing: number[]): number =>
  Math.min(majorityReached(incoming), majorityReached(outgoing));

export function jointVote(
  incoming: readonly (boolean | undefined)[],
  outgoing: readonly (boolean | undefined)[],
): VoteResult {
  const left = majorityVote(incoming);
  const right = majorityVote(outgoing);
  if (left === 'lost' || right === 'lost') return 'lost';
  return left === 'won' && right === 'won' ? 'won' : 'pending';
}
