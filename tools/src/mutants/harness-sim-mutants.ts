/**
 * Bugs of consensus and repair, for the simulator: on real processes the order of events that shows
 * them comes up too seldom, or the nodes notice it themselves and stop.
 */
import type { HarnessMutant } from './harness-killers.ts';

const RAFT = 'packages/raft/dist/src';

const killer = { kind: 'simulator', firstSeed: 1, seedCount: 20 } as const;

export const SIMULATOR_MUTANTS: readonly HarnessMutant[] = [
  {
    id: 'leader-commits-alone',
    bug: 'an entry counts as committed when one voter holds it',
    breaks: 'a write needs a majority',
    file: `${RAFT}/quorum/majority.js`,
    find: 'return values[count - majorityCount(count)];',
    replace: 'return values[count - 1];',
    killer,
  },
  {
    id: 'second-vote-in-a-term',
    bug: 'a voter that knows no leader votes for whoever asks, also twice in a term',
    breaks: 'there is one leader in a term',
    file: `${RAFT}/election.js`,
    find: 'const isFree = state.vote === null && state.leader === null;',
    replace: 'const isFree = state.leader === null;',
    killer,
  },
  {
    id: 'any-log-may-lead',
    bug: 'of two logs that end in one term the shorter one counts as up to date',
    breaks: 'a leader holds everything that was acknowledged',
    file: `${RAFT}/log/raft-log.js`,
    find: '(lastTerm === ownTerm && lastIndex >= this.lastIndex)',
    replace: 'lastTerm === ownTerm',
    killer,
  },
  {
    id: 'follower-acknowledges-a-gap',
    bug: 'a follower acknowledges entries that do not follow its log and that it did not take',
    breaks: 'a write is on a majority when it is acknowledged',
    file: `${RAFT}/roles/follower.js`,
    find: 'reject(state, message);\n        return;',
    replace:
      'if (message.prevIndex > log.lastIndex)\n            acknowledge(state, message, message.prevIndex + message.entries.length);\n        else\n            reject(state, message);\n        return;',
    killer,
  },
  {
    id: 'acknowledgement-overtakes-disk',
    bug: 'a follower acknowledges entries before they are durable',
    breaks: 'an acknowledged write survives a power cut',
    file: `${RAFT}/replica-state.js`,
    find: 'if (this.isLeader)\n            this.outbox.sendNow(message);',
    replace:
      "if (this.isLeader || message.kind === 'appendResponse')\n            this.outbox.sendNow(message);",
    killer,
  },
  {
    id: 'lease-from-receipt',
    bug: 'the lease counts from the answer instead of from when the heartbeat was sent',
    breaks: 'a read by lease is linearizable',
    file: `${RAFT}/lease.js`,
    find: 'peer.leaseSentAtMs = sentAtMs;',
    replace: 'peer.leaseSentAtMs = state.nowMs;',
    killer,
  },
  {
    id: 'read-before-own-commit',
    bug: 'a new leader serves reads before it has committed an entry of its term',
    breaks: 'reads are linearizable after an election',
    file: `${RAFT}/read-index.js`,
    find: 'if (log.committed < state.leadershipStartIndex)\n        return;',
    replace: '',
    killer,
  },
  {
    id: 'rot-is-cut-like-a-torn-tail',
    bug: 'a damaged record that is known to have been durable is skipped with all after it',
    breaks: 'a flipped bit loses no acknowledged write',
    file: 'packages/storage/dist/src/wal/scan.js',
    find: 'first !== undefined || this.#promised.batch >= pending.batch.header.batch;',
    replace: 'first !== undefined;',
    killer,
  },
  {
    id: 'repair-is-not-proven',
    bug: 'a file is repaired with blocks of whatever file a peer has in its place',
    breaks: 'what is repaired is equal on all replicas',
    file: 'packages/storage/dist/src/checksummed-repair.js',
    find: 'this.#isProven = found === checksum;',
    replace: "this.#isProven = found !== '';",
    killer,
  },
  {
    id: 'lease-never-ends',
    bug: 'a lease that was once granted lasts as long as its leader believes that it leads',
    breaks: 'a read by lease is linearizable',
    file: `${RAFT}/lease.js`,
    find: 'if (nowMs >= leaseExpiryMs(state))',
    replace: 'if (leaseExpiryMs(state) === Number.NEGATIVE_INFINITY)',
    killer,
  },
  {
    id: 'old-leader-decides',
    bug: 'a log is repaired from a replica that lags: one that led an earlier term',
    breaks: 'a repair loses no acknowledged write',
    file: `${RAFT}/repair/range-repair.js`,
    find: 'peer.isLeader && peer.term >= this.#termBound',
    replace: 'peer.isLeader',
    killer,
  },
  {
    id: 'stale-file-verifies',
    bug: 'a good but older file at the place of another passes verification',
    breaks: 'a file that is not the one that was written is found and repaired',
    file: 'packages/shard-worker/dist/src/segment/references.js',
    find: '=== file.checksum',
    replace: "!== ''",
    killer,
  },
  {
    id: 'merge-by-local-history',
    bug: 'whether segments are merged depends on when this process began to look',
    breaks: 'sealed files are equal on all replicas',
    file: 'packages/shard-worker/dist/src/segment/ledger.js',
    find: '        // Any death may make it small, or too dead: ask again.\n        this.#mayMerge = true;',
    replace: '',
    killer,
  },
];
