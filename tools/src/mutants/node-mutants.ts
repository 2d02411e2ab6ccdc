/** Bugs of the host loop around the core. */
import type { Mutant } from './mutant.ts';

const REPLICA = 'packages/node/dist/src/replica';

export const NODE_MUTANTS: readonly Mutant[] = [
  {
    id: 'host-sends-gated-early',
    bug: 'the host lets out messages that wait for its disk',
    source: 'case 1 of ADR 0011',
    file: `${REPLICA}/driver.js`,
    find: 'if (gated.seq <= this.#durableSeq)',
    replace: 'if (gated.seq > 0)',
  },
  {
    id: 'missed-ticks-are-replayed',
    bug: 'after a pause every missed tick is made up for at once',
    source: 'camunda#4200; the event loop that makes false elections',
    file: `${REPLICA}/driver.js`,
    find: 'Math.min(dueCount, CATCH_UP_TICKS_MAX)',
    replace: 'dueCount',
  },
  {
    id: 'read-before-applied',
    bug: 'a read is served from a state machine that has not applied the index it needs',
    source: 'thesis 6.4',
    file: `${REPLICA}/read-gate.js`,
    find: 'if (round.index > appliedIndex) {',
    replace: 'if (round.index > appliedIndex && round.reads.length === 0) {',
  },
  {
    id: 'outcome-by-index-only',
    bug: 'whatever is applied at the index of a proposal counts as its success',
    source: 'etcd#9884, rabbitmq/ra#145',
    file: `${REPLICA}/proposals.js`,
    find: 'if (term === proposed.term)',
    replace: 'if (term >= 0)',
  },
  {
    id: 'refused-vote-is-replayed',
    bug: 'a lane that comes back applies a batch that the lanes had refused together',
    source: 'own design: ADR 0027',
    file: `${REPLICA}/lane-replayer.js`,
    find: 'votes.wasRefused(index)',
    replace: 'votes.wasRefused(-1)',
  },
];
