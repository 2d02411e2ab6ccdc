/**
 * The conformance cases every Raft core must pass, and what proves each here: a golden scenario of
 * this folder (`x.txt`, its header says `Case N`) or a test, named as `file: title`. The list is
 * checked against both (cases.test.ts), so a renamed or deleted proof shows.
 */
export interface ConformanceCase {
  readonly number: number;
  readonly claim: string;
  readonly proofs: readonly string[];
}

const conformanceCase = (
  number: number,
  claim: string,
  ...proofs: readonly string[]
): ConformanceCase => ({ number, claim, proofs });

export const CASES: readonly ConformanceCase[] = [
  conformanceCase(
    1,
    'an election is won by exactly a majority',
    'paper.test.ts: 5.2: a candidate wins with exactly a majority and falls back when it cannot',
  ),
  conformanceCase(
    2,
    'a vote goes to one candidate of a term, and only to a log at least as up to date',
    'tables.test.ts: case 2: who voted for whom, and how new both logs are, decides a vote',
    'paper.test.ts: 5.4.1: a vote goes only to a log that is at least as up to date',
    'paper.test.ts: 5.2: a server votes for at most one candidate in a term, first come',
  ),
  conformanceCase(
    3,
    'election timeouts are spread, so that two servers rarely campaign at once',
    'paper.test.ts: 5.2: election timeouts spread over [n, 2n)',
    'paper.test.ts: 5.2: five servers rarely share the shortest timeout',
  ),
  conformanceCase(
    4,
    'a higher term is adopted in every role, a lower one is not obeyed',
    'paper.test.ts: 5.1: a server of any role that sees a higher term becomes a follower of it',
    'paper.test.ts: 5.1: an append of an older term changes nothing and is told the newer term',
  ),
  conformanceCase(
    5,
    'heartbeats go to all at their interval; a candidate falls back to the leader of its term',
    'heartbeats.txt',
  ),
  conformanceCase(
    6,
    'a proposal goes to all and is committed exactly at a majority',
    'paper.test.ts: 5.3: a leader appends, replicates to all, and commits at a majority',
  ),
  conformanceCase(
    7,
    'an entry commits everything before it, also of older terms',
    'paper.test.ts: 5.3: committing an entry commits everything before it, also of older terms',
  ),
  conformanceCase(
    8,
    'Figure 8: an entry of an older term is not committed by counting',
    'figure-8-not-committed.txt',
    'figure-8-committed.txt',
    'paper.test.ts: 5.4.2, Figure 8: an entry of an older term is not committed by counting',
  ),
  conformanceCase(
    9,
    'an append must fit what is there; conflicts go, the rest stays',
    'paper.test.ts: 5.3: a follower refuses an append whose predecessor it does not hold',
    'paper.test.ts: 5.3: a follower replaces what conflicts and keeps what does not',
  ),
  conformanceCase(
    10,
    'every log of Figure 7 becomes the log of the leader',
    'probing.txt',
    'paper.test.ts: Figure 7: all six logs become the log of the new leader',
  ),
  conformanceCase(
    11,
    'uncommitted entries of a higher term on a loser are replaced',
    'overwrite-newer-log.txt',
    'overwrite-newer-log-without-pre-vote.txt',
  ),
  conformanceCase(
    12,
    'every role answers votes; impossible changes of role are our own bug',
    'election.test.ts: every role answers a vote of a higher term as a follower of it',
    'tables.test.ts: case 12: a change of role that the paper does not know is refused as our bug',
  ),
  conformanceCase(
    13,
    'of two candidates one wins; with pre-votes the loser inflates no term',
    'dueling-candidates.txt',
    'dueling-pre-candidates.txt',
  ),
  conformanceCase(14, 'old and reordered messages change nothing', 'old-messages.txt'),
  conformanceCase(
    15,
    'entries of an earlier term wait for an entry of this one',
    'noop-unlocks-commit.txt',
  ),
  conformanceCase(
    16,
    'commit follows what was matched and never goes back; a lagging peer is sent to again',
    'heartbeat-to-lagging.txt',
    'commit-only-what-matched.txt',
    'replication.test.ts: a follower commits at most what the append itself covered',
    'replication.test.ts: a heartbeat moves the commit index forward only',
  ),
  conformanceCase(
    17,
    'a rejection skips whole terms on both sides',
    'tables.test.ts: case 17: hints of a rejection and the next probe, computed by hand',
  ),
  conformanceCase(
    18,
    'probe waits, replicate pipelines, snapshot pauses',
    'progress-states.txt',
    'replication.test.ts: a probed peer gets one append until it answers or a heartbeat is answered',
  ),
  conformanceCase(
    19,
    'a full window pauses and recovers, also when everything in it was lost',
    'flow-control.txt',
    'replication.test.ts: a window of which everything was lost recovers by heartbeats',
  ),
  conformanceCase(
    20,
    'what a leader may pile up uncommitted is bounded',
    'uncommitted-limit.txt',
    'replication.test.ts: uncommitted bytes are bounded, and free again when committed',
  ),
  conformanceCase(21, 'commit news reach a follower with the next heartbeat', 'lagging-commit.txt'),
  conformanceCase(22, 'a leader without a quorum steps down, others stay', 'check-quorum.txt'),
  conformanceCase(23, 'a live leader is not voted out', 'alive-leader-refuses-votes.txt'),
  conformanceCase(
    24,
    'a server stuck at a higher term comes back; pre-votes spare the group its visit',
    'stuck-candidate.txt',
    'disruptive-follower.txt',
  ),
  conformanceCase(
    25,
    'pre-votes: refused under a live leader, split votes resolve, a mixed group elects',
    'pre-vote.txt',
    'pre-vote-split.txt',
    'pre-vote-rollout.txt',
    'pre-vote-late-grant.txt',
  ),
  conformanceCase(26, 'a server behind in term can complete an election', 'smaller-term.txt'),
  conformanceCase(
    27,
    'reads: current as of their asking, none before the term is opened, no old confirmations',
    'read-index.txt',
    'read-new-leader.txt',
    'read-late-confirmation.txt',
    'lease-reads.txt',
    'lease-paused-leader.txt',
    'lease-counted-from-sending.txt',
  ),
  conformanceCase(
    28,
    'leadership is given away within one election timeout or not at all',
    'transfer.txt',
    'transfer-to-slow.txt',
    'transfer-timeout.txt',
    'late-order-to-take-over.txt',
    'transfer-to-another.txt',
    'transfer-refused.txt',
    'transfer-of-a-removed-target.txt',
    'transfer-higher-term.txt',
    'transfer.test.ts: an order that arrives after the transfer ended is ignored by its target',
    'transfer.test.ts: learners and strangers ignore the order to take over',
  ),
  conformanceCase(
    29,
    'forgetting a leader frees the vote and nothing else',
    'forget-leader.txt',
    'forget-leader-elects.txt',
    'forget-leader-leased.txt',
  ),
  conformanceCase(
    30,
    'a snapshot replaces a log that lacks entries and only fast-forwards one that has them',
    'snapshot-restore.txt',
    'snapshot-ignored.txt',
    'replace-wiped.txt',
  ),
  conformanceCase(
    31,
    'a snapshot that failed, or whose report was lost, does not block its peer',
    'snapshot-failed.txt',
    'snapshot-report-lost.txt',
    'slow-follower-after-compaction.txt',
  ),
  conformanceCase(
    32,
    'one change at a time, and a new leader waits for its own entry first',
    'change-pending.txt',
  ),
  conformanceCase(
    33,
    'simple changes at once, others through a joint configuration that is left once',
    'change-simple.txt',
    'change-joint-auto.txt',
    'change-joint-explicit.txt',
    'change-auto-leave-new-leader.txt',
    'change-reverted.txt',
  ),
  conformanceCase(
    34,
    'a leader can be removed or replaced: it commits that, tells all and steps down',
    'remove-leader.txt',
    'replace-leader.txt',
    'remove-follower-of-two.txt',
  ),
  conformanceCase(35, 'learners vote when asked and never campaign', 'learner.txt'),
  conformanceCase(
    36,
    'the algebra of changes equals a reference model, and quorums in a row always meet',
    'conf-change.test.ts: one voter more, less, promoted or demoted is a simple change',
    'conf-change.test.ts: two voters that differ make a joint change that is left by itself',
    'conf-change.test.ts: any number of learners may change with one voter and stay simple',
    'conf-change.test.ts: an explicit joint change stays until it is left, even for one voter',
    'conf-change.test.ts: a demoted voter becomes a learner only when the joint change is left',
    'conf-change.test.ts: a group is never left without a voter',
    'conf-change.test.ts: random walks equal the reference model, and quorums in a row always meet',
  ),
  conformanceCase(
    37,
    'quorum maths equal brute force',
    'quorum.test.ts: the index a majority has reached equals brute force',
    'quorum.test.ts: a joint quorum reaches only what both majorities have reached',
    'quorum.test.ts: a vote is won, lost or pending exactly when enumeration says so',
    'quorum.test.ts: a joint vote is lost by either side and won only by both',
  ),
  conformanceCase(
    38,
    'appends are acknowledged when durable; a late word about a replaced one proves nothing',
    'async-appends.txt',
    'append-aba.txt',
  ),
  conformanceCase(
    39,
    'the own vote and the own entries count when durable, and only in their own term',
    'late-own-vote.txt',
    'stalled-candidate.txt',
    'unsynced-tail.txt',
  ),
  conformanceCase(
    40,
    'restarts, bounded batches that skip nothing, a group of one',
    'restart.txt',
    'restart-from-snapshot.txt',
    'single-node.txt',
    'log.test.ts: the conflict search finds the last position of a term not above',
  ),
];
