/**
 * Who leads, as far as the client knows. Pure: returns a new cache.
 *
 * Invariants: L1 the term never goes back, so a node that lags cannot bring back a deposed leader.
 * L2 within a term a named leader is not forgotten because another node has lost sight of it; only
 * the leader's own word, or the loss of our connection to it, clears it.
 */
import type { LeaderHint } from '@holdfast/protocol';

export interface LeaderCache {
  readonly leader: LeaderHint | null;
  readonly term: number;
}

export const NO_LEADER_KNOWN: LeaderCache = { leader: null, term: 0 };

/** A welcome, a push, or a redirect that carries a term. */
export function learnLeader(
  cache: LeaderCache,
  heard: { readonly leader: LeaderHint | null; readonly term: number },
): LeaderCache {
  if (heard.term < cache.term) return cache;
  if (heard.term > cache.term) return { leader: heard.leader, term: heard.term };
  if (heard.leader === null || isSameLeader(cache.leader, heard.leader)) return cache;
  return { leader: heard.leader, term: cache.term };
}

/** `nodeId` said that it does not lead, or can no longer be reached. */
export function forgetLeader(cache: LeaderCache, nodeId: string): LeaderCache {
  return cache.leader?.nodeId === nodeId ? { leader: null, term: cache.term } : cache;
}

export function isSameLeader(left: LeaderHint | null, right: LeaderHint | null): boolean {
  return left?.nodeId === right?.nodeId && left?.address === right?.address;
}
