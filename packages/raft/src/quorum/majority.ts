/** Majority maths over plain arrays. An empty majority agrees to everything: see joint.ts. */

export type VoteResult = 'pending' | 'won' | 'lost';

/** Votes needed to decide: floor(n / 2) + 1. */
export const majorityCount = (memberCount: number): number => Math.floor(memberCount / 2) + 1;

/**
 * Largest value that a majority has reached; Infinity when there are no members. Sorts `values` in
 * place: member counts are small and the caller owns the scratch array.
 */
export function majorityReached(values: number[]): number {
  const count = values.length;
  if (count === 0) return Number.POSITIVE_INFINITY;
  for (let i = 1; i < count; i++) {
    const value = values[i]!;
    let j = i - 1;
    while (j >= 0 && values[j]! > value) {
      values[j + 1] = values[j]!;
      j -= 1;
    }
    values[j + 1] = value;
  }
  return values[count - majorityCount(count)]!;
}

/** `votes` has true, false, or undefined (not heard from) per member. No members: won. */
export function majorityVote(votes: readonly (boolean | undefined)[]): VoteResult {
  const needed = majorityCount(votes.length);
  let granted = 0;
  let unheard = 0;
  for (const vote of votes) {
    if (vote === true) granted += 1;
    else if (vote === undefined) unheard += 1;
  }
  if (votes.length === 0 || granted >= needed) return 'won';
  return granted + unheard >= needed ? 'pending' : 'lost';
}
