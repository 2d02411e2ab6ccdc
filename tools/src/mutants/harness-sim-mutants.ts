/**
 * Bugs of consensus and of files, for the simulator: on real processes the order of events that
 * shows them comes up too seldom, or the nodes notice it themselves and stop.
 */
import type { HarnessMutant } from './harness-killers.ts';

const RAFT = 'packages/raft/dist/src';

const killer = { kind: 'simulator', firstSeed: 1, seedCount: 5 } as const;

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
    id: 'merge-by-local-history',
    bug: 'whether segments are merged depends on when this process began to look',
    breaks: 'sealed files are equal on all replicas',
    file: 'packages/shard-worker/dist/src/segment/ledger.js',
    find: '        // Any death may make it small, or too dead: ask again.\n        this.#mayMerge = true;',
    replace: '',
    killer,
  },
];
