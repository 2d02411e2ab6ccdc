/** Bugs of elections, terms and votes. */
import type { Mutant } from './mutant.ts';

const RAFT = 'packages/raft/dist/src';

export const ELECTION_MUTANTS: readonly Mutant[] = [
  {
    id: 'vote-request-overtakes-disk',
    bug: 'requests for votes leave before term, vote and tail are durable',
    source: 'asynchronous storage writes of etcd-io/raft, cases 1 and 2 of ADR 0011',
    file: `${RAFT}/replica-state.js`,
    find: 'if (this.isLeader)\n            this.outbox.sendNow(message);',
    replace:
      "if (this.isLeader || message.kind === 'vote')\n            this.outbox.sendNow(message);",
  },
  {
    id: 'vote-answer-overtakes-disk',
    bug: 'a vote is granted before it is durable',
    source: 'hashicorp/raft#661; liferaft persists neither term nor vote',
    file: `${RAFT}/replica-state.js`,
    find: 'if (this.isLeader)\n            this.outbox.sendNow(message);',
    replace:
      "if (this.isLeader || message.kind === 'voteResponse')\n            this.outbox.sendNow(message);",
  },
  {
    id: 'vote-cleared-in-term',
    bug: 'stepping down within a term clears the vote, so a second one is given',
    source: 'CCF#8094, xraft#29, akka-raft#56',
    file: `${RAFT}/roles/follower.js`,
    find: '    if (term > state.term) {\n        state.term = term;\n        state.vote = null;\n    }',
    replace: '    state.term = term;\n    state.vote = null;',
  },
  {
    id: 'vote-is-not-saved',
    bug: 'a vote in the present term alone makes no append',
    source: 'hashicorp/raft#661',
    file: `${RAFT}/log/raft-log.js`,
    find: 'this.#savedHardState.term !== hardState.term ||\n            this.#savedHardState.vote !== hardState.vote);',
    replace: 'this.#savedHardState.term !== hardState.term);',
  },
  {
    id: 'longer-log-wins',
    bug: 'logs are compared by length before term',
    source: 'openraft a48a3282',
    file: `${RAFT}/log/raft-log.js`,
    find: 'return lastTerm > ownTerm || (lastTerm === ownTerm && lastIndex >= this.lastIndex);',
    replace:
      'return lastIndex > this.lastIndex || (lastIndex === this.lastIndex && lastTerm >= ownTerm);',
  },
  {
    id: 'equal-log-loses',
    bug: 'a log that is just as up to date is refused',
    source: 'openraft a48a3282',
    file: `${RAFT}/log/raft-log.js`,
    find: '(lastTerm === ownTerm && lastIndex >= this.lastIndex)',
    replace: '(lastTerm === ownTerm && lastIndex > this.lastIndex)',
  },
  {
    id: 'majority-of-half',
    bug: 'half of an even group counts as a majority',
    source: 'openraft d60f1e85',
    file: `${RAFT}/quorum/majority.js`,
    find: 'Math.floor(memberCount / 2) + 1',
    replace: 'Math.ceil(memberCount / 2)',
  },
  {
    id: 'late-grant-counts',
    bug: 'a grant for an earlier campaign counts for the present one',
    source: 'case 2 of ADR 0011; etcd-io/raft TestCandidateSelfVoteAfterLostElection',
    file: `${RAFT}/election.js`,
    find: ' || current.nonce !== message.nonce)',
    replace: ')',
  },
  {
    id: 'pre-vote-grant-is-a-vote',
    bug: 'the answer to a pre-vote counts as a vote',
    source: 'etcd-io/raft CandidateDeliversPreCandidateSelfVote',
    file: `${RAFT}/election.js`,
    find: 'current.isPreVote !== isPreVote || ',
    replace: '',
  },
  {
    id: 'stuck-at-higher-term',
    bug: 'a leader of a lower term gets no answer, so a server at a higher one stays stuck',
    source: 'etcd-io/raft TestFreeStuckCandidateWithCheckQuorum',
    file: `${RAFT}/receive.js`,
    find: "state.reply(message, { kind: 'appendResponse', matchIndex: 0, rejection: null });",
    replace: '',
  },
  {
    id: 'pre-vote-moves-timer',
    bug: 'being asked for a pre-vote counts as contact with a leader',
    source: 'hashicorp/raft#606, #609',
    file: `${RAFT}/election.js`,
    find: "if (refusal === null && message.kind === 'vote') {",
    replace:
      "if (message.kind === 'preVote')\n        state.electionElapsedTicks = 0;\n    if (refusal === null && message.kind === 'vote') {",
  },
  {
    id: 'vote-request-moves-timer',
    bug: 'a refused request for a vote postpones the own campaign',
    source: 'etcd-io/raft#167, raft-rs#14',
    file: `${RAFT}/election.js`,
    find: "if (refusal === null && message.kind === 'vote') {",
    replace:
      "if (message.kind === 'vote')\n        state.electionElapsedTicks = 0;\n    if (refusal === null && message.kind === 'vote') {",
  },
  {
    id: 'leader-without-quorum-stays',
    bug: 'a leader that hears from no quorum stays in office',
    source: 'etcd CheckQuorum; Cloudflare outage of 2020 (one-way links)',
    file: `${RAFT}/roles/leader.js`,
    find: 'state.tracker.isQuorumActive(state.tick - electionTimeoutTicks)',
    replace: 'state.tracker.isQuorumActive(0)',
  },
  {
    id: 'lower-pre-vote-unanswered',
    bug: 'a pre-vote of a lower term is dropped, so its sender never learns the newer term',
    source: 'etcd-io/raft TestNodeWithSmallerTermCanCompleteElection',
    file: `${RAFT}/receive.js`,
    find: "message.kind === 'preVote' || message.kind === 'preVoteResponse'",
    replace: "message.kind === 'preVoteResponse'",
  },
  {
    id: 'old-life-counts',
    bug: 'an answer of another incarnation of a member counts',
    source: 'dragonboat#256, etcd#16220, openraft FAQ: the wiped disk that votes again',
    file: `${RAFT}/envelope.js`,
    find: 'known?.incarnation === message.fromIncarnation',
    replace: 'known !== null',
  },
];
