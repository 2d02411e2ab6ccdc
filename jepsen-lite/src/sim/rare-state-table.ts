/**
 * The states that a simulation must reach to be worth anything. A suite of at least
 * SUITE_SEED_COUNT seeds fails when one that is expected of so many was not reached.
 */

/** Seeds of a suite that has to reach every expected state. */
export const SUITE_SEED_COUNT = 100;

/** What each state is. */
export const RARE_STATES = {
  leaderEndsWithBatchInFlight: 'a leader is killed while entries of it are not committed',
  powerLostWithUnsyncedBatch: 'a machine loses power while its log waits for the disk',
  leaderCommitsBeforeOwnDisk: 'a leader commits through its followers before its own disk is done',
  leaderInheritsUncommittedTail: 'a new leader holds entries of earlier terms, not yet committed',
  leaderOfRestartedNode: 'a node leads that was down before',
  restartedNodeVotes: 'a node votes before it has heard of any leader since its start',
  restartWithUncommittedTail: 'a node finds entries on its disk that nobody has committed',
  restartFromCheckpoint: 'a node starts from a checkpoint and the log after it',
  restartWithoutCheckpoint: 'a node starts from the log alone',
  startInterrupted: 'a node dies while it starts',
  tornTailCut: 'a start finds an unfinished write at the end of the log and cuts it',
  tailTruncated: 'a replica throws away a tail that another leader has replaced',
  twoLeadersAtOnce: 'two nodes believe that they lead, in different terms',
  pausedLeaderDeposed: 'a leader wakes up from a pause and another one leads',
  campaignLost: 'a node campaigns again without having been told of a leader in between',
  preVoteRefused: 'a pre-vote is refused',
  voteRefused: 'a vote is refused',
  voteAfterVote: 'a node votes in a term after it voted in an earlier one, with no leader between',
  stepDownWithoutQuorum: 'a leader steps down because it hears no quorum',
  stepDownByHigherTerm: 'a leader steps down because of a higher term',
  noLeaderForLong: 'nobody leads for three seconds',
  allNodesDown: 'no node is up',
  majorityDown: 'a majority of the nodes is down',
  appendRejected: 'a follower refuses entries that do not fit its log',
  probeGoesBackOverTerms: 'a refusal makes the leader go back more than one entry',
  messageRefused: 'a replica refuses a message that is not for it or not of its time',
  snapshotNeeded: 'a follower is so far behind that it needs a snapshot',
  snapshotRestored: 'a follower loads a snapshot',
  snapshotInterrupted: 'a snapshot transfer breaks',
  receiverEndsDuringSnapshot: 'a node dies while it receives a snapshot',
  logCompacted: 'the log behind a checkpoint is let go of',
  logFileRemoved: 'a file of the log is removed',
  followerReads: 'a follower asks the leader for a read index',
  readIndexRefused: 'a node that does not lead any more refuses a read index',
  writeRepeated: 'a repeated write reaches the log a second time and must not take effect',
  sessionsExpired: 'idle sessions are ended by the log',
  outcomeUnknown: 'a client never learns what became of a write',
  conditionRefused: 'a conditional write is refused',
  writesBlocked: 'a node goes on although its disk refuses the log',
  checkpointFailed: 'a checkpoint fails and its node goes on',
  diskErrorStop: 'a node stops because a write or a sync failed',
  digestsMeet: 'the digests of two nodes are compared at one index',
  leadershipTransferred: 'leadership is handed over',
  transferAborted: 'a hand-over is given up',
  leaseRunsOutInPause: 'a leader wakes up from a pause and its lease has run out',
  diskStallStepDown: 'a leader steps down because its own disk stalls',
  confReverted: 'a configuration is taken back because its entry is truncated',
  leaderChangeInJoint: 'the leader changes while the configuration is joint',
  snapshotDuringJoint: 'a snapshot is taken while the configuration is joint',
  learnerCaughtUp: 'a learner has caught up and may be promoted',
  learnerPromoted: 'a learner has caught up and becomes a voter',
  leaderRemoved: 'the leader removes itself',
  logRots: 'a start finds entries of the log damaged',
  rotIsInCheckpoint: 'the damaged entries are in the own checkpoint, so nobody is asked',
  damagedEntryRepaired: 'a damaged entry of the log is fetched from a peer',
  neverHadProven: 'a quorum proves that a damaged entry was never committed',
  wipedNodeRejoins: 'a node with an empty disk comes back as another incarnation',
  segmentsMeet: 'sealed segments of two nodes are compared byte by byte',
  segmentsMerged: 'segments are merged into another one',
  damageFound: 'a scrub finds a damaged file',
  segmentRepaired: 'a running node copies blocks of a damaged segment from a peer',
  checkpointRenewed: 'a running node replaces damaged files by a new checkpoint',
  rootRewritten: 'a running node writes a damaged CHECKPOINT once more',
  identityRewritten: 'a running node writes its damaged identity once more',
  epochRewritten: 'a running node writes its damaged EPOCH once more',
  hardStateRewritten: 'a running node writes both copies of term and vote anew',
  logEntriesRewritten: 'a running node writes entries of a damaged place of its log once more',
  cutLogFileMended: 'what a file of the log lacks that was cut is written once more while running',
  lostLogFileMended: 'what stood in a deleted file of the log is written once more while running',
  oldLogFileMended: 'what a file of the log lacks that was put back is written while running',
  staleFileReplaced: 'a running node replaces a file that was put back as it once was',
  startRepairsSegment: 'a start repairs a damaged segment from a peer',
  startFallsBack: 'a start uses an older checkpoint because the newest one is damaged',
  replicaDiverges: 'a replica learns that the majority holds something else',
  newLifeBegun: 'a node gives up what it has and comes back as another incarnation',
  laneLost: 'the engine of a lane is gone',
  laneHangs: 'a lane is replaced because it does not answer any more',
  laneRecovered: 'a lane comes back from a checkpoint and the log after it',
  writesResumed: 'a disk that refused the log takes it again',
  storeUnsure: 'the store does what it is asked, and its answer is a failure',
  storedForTheDead: 'what a node sent takes effect in the store after the node has ended',
  archiveRaceLost: 'a piece of the archive is put where another one stands already',
  archiveGap: 'entries were let go of before the archive had them, and it says so',
  archivePruned: 'old pieces of the archive are removed',
  backupMade: 'a backup is made',
  backupPruned: 'an old backup is removed',
  restoreMatches: 'a restore gives the rows that a node had at that moment',
  restoreRefused: 'a restore is refused because retention or a gap took what it needs',
} as const;

export type RareState = keyof typeof RARE_STATES;

/** So rare that a hundred seeds may miss them: how many seeds are expected to reach each. */
const SEED_COUNT_OF_RAREST: ReadonlyMap<RareState, number> = new Map([
  ['neverHadProven', 5_000],
  // Segments of small worlds are merged away before a scrub comes by; the others are one file each.
  ['segmentRepaired', 1_000],
  ['startRepairsSegment', 1_000],
  ['rootRewritten', 1_000],
  ['epochRewritten', 1_000],
  ['cutLogFileMended', 1_000],
  ['lostLogFileMended', 1_000],
  ['oldLogFileMended', 1_000],
  // One seed of three has a store.
  ['storeUnsure', 1_000],
  ['storedForTheDead', 1_000],
  ['archiveRaceLost', 1_000],
  ['backupPruned', 1_000],
  ['archiveGap', 1_000],
  ['archivePruned', 1_000],
  ['restoreRefused', 1_000],
]);

/** Seeds after which a suite without `state` has failed. */
export const seedCountFor = (state: RareState): number =>
  SEED_COUNT_OF_RAREST.get(state) ?? SUITE_SEED_COUNT;

export const RARE_STATE_NAMES = Object.keys(RARE_STATES) as readonly RareState[];
