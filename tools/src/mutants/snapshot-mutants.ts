/** Bugs of snapshots and reads. */
import type { Mutant } from './mutant.ts';

const RAFT = 'packages/raft/dist/src';

export const SNAPSHOT_MUTANTS: readonly Mutant[] = [
  {
    id: 'snapshot-report-lost',
    bug: 'a peer whose report of a finished transfer was lost stays in snapshot state',
    source: 'etcd-io/raft snapshot_succeed_via_app_resp_behind',
    file: `${RAFT}/replication.js`,
    find: '(peer.matchIndex >= peer.pendingSnapshot.index || peer.matchIndex + 1 >= state.log.firstIndex)',
    replace: '(peer.matchIndex > peer.pendingSnapshot.index)',
  },
  {
    id: 'snapshot-deletes-newer-entries',
    bug: 'a snapshot inside the own log replaces it, with the newer entries',
    source: 'camunda#6092',
    file: `${RAFT}/snapshot.js`,
    find: 'if (log.term(meta.index) === meta.term) {',
    replace: 'if (log.term(meta.index) === meta.term && meta.index === log.lastIndex) {',
  },
  {
    id: 'applied-under-snapshot',
    bug: 'entries go on to the state machine while a snapshot replaces the log',
    source: 'openraft eed681d5, openraft#1892',
    file: `${RAFT}/log/raft-log.js`,
    find: 'hasApply() {\n        if (this.#base !== null)\n            return false;',
    replace: 'hasApply() {',
  },
  {
    id: 'snapshot-sent-while-under-way',
    bug: 'a snapshot is offered again on every sign of life while one is on its way',
    source: 'consul#9609, openraft#1706, camunda#11496',
    file: `${RAFT}/snapshot.js`,
    find: 'if (state.tick - peer.snapshotSentTick < state.options.electionTimeoutTicks)\n        return;',
    replace: '',
  },
  {
    id: 'failed-snapshot-blocks',
    bug: 'after a failed transfer the leader believes its peer holds the snapshot',
    source: 'etcd-io/raft raft_snap_test',
    file: `${RAFT}/snapshot.js`,
    find: 'if (!isOk)\n        peer.pendingSnapshot = null;',
    replace: '',
  },
  {
    id: 'read-before-own-commit',
    bug: 'a new leader serves reads before it has committed an entry of its term',
    source: 'etcd#7331, TestReadOnlyForNewLeader',
    file: `${RAFT}/read-index.js`,
    find: 'if (log.committed < state.leadershipStartIndex)\n        return;',
    replace: '',
  },
  {
    id: 'old-round-confirms-read',
    bug: 'the confirmation of an earlier round confirms a newer read',
    source: 'etcd#20418, etcd-io/raft#397',
    file: `${RAFT}/receive.js`,
    find: 'peer.confirmedRound = message.round;',
    replace: 'peer.confirmedRound = state.leaderReads.round;',
  },
  {
    id: 'read-without-round',
    bug: 'a leader answers reads without asking whether it still is one',
    source: 'thesis 6.4',
    file: `${RAFT}/read-index.js`,
    find: 'if (tracker.quorumConfirmedRound(leaderReads.round) < underWay.round)\n        return;',
    replace: '',
  },
  {
    id: 'reads-without-bound',
    bug: 'reads wait without limit for a quorum that does not come',
    source: 'etcd#12762',
    file: `${RAFT}/core.js`,
    find: 'if (isLeader ? leaderReads.isFull : forwardedReads.isFull)',
    replace: 'if (!isLeader && forwardedReads.isFull)',
  },
  {
    id: 'old-reads-survive-office',
    bug: 'reads that wait when leadership is lost are neither answered nor aborted',
    source: 'etcd-io/raft; thesis 6.4',
    file: `${RAFT}/roles/follower.js`,
    find: 'abortLeaderReads(state);',
    replace: '',
  },
];
