/** Acknowledged writes that are lost or done twice when a node dies, is cut off or loses power. */
import type { ClusterKiller, HarnessMutant } from './harness-killers.ts';

const REPLICA = 'packages/node/dist/src/replica';
const WAL = 'packages/storage/dist/src/wal';

/** A fault and its healing every four seconds. */
const disturbed = (workload: string, nemesis: string, intervalSeconds = 2): ClusterKiller => ({
  ...{ kind: 'cluster' as const, workload, nemesis, nodeCount: 3 as const },
  ...{ seconds: 16, intervalSeconds, seed: 1 },
});

export const LOSS_MUTANTS: readonly HarnessMutant[] = [
  {
    id: 'acknowledged-before-commit',
    bug: 'the leader acknowledges a write as soon as it has proposed it',
    breaks: 'an acknowledged write survives',
    file: `${REPLICA}/proposals.js`,
    find: 'this.#proposed.set(index, { ...proposal, term: outcome.term });',
    replace: `this.#proposed.set(index, { ...proposal, term: outcome.term });
            if (proposal.origin.kind === 'upsert')
                proposal.resolve({
                    ok: true, index, term: outcome.term,
                    value: { kind: 'written', deletedCount: 0 },
                });`,
    killer: disturbed('set', 'partition-leader'),
  },
  {
    id: 'sync-now-and-then',
    bug: 'a batch of the log counts as durable when it was written; each 64th is synced',
    breaks: 'an acknowledged write survives a power cut of all nodes',
    file: `${WAL}/wal-writer.js`,
    find: 'if (this.#pace.written(startMs))',
    replace: 'if (this.#pace.written(startMs) && this.#batches % 64 === 63)',
    killer: disturbed('set', 'power-all', 5),
  },
  {
    id: 'lost-write-is-sent-anew',
    bug: 'after a lost connection the client sends its write in another session',
    breaks: 'a write happens once',
    file: 'packages/client/dist/src/retry-policy.js',
    find: "case 'CONNECTION_LOST':\n        case 'LEADERSHIP_LOST':",
    replace:
      "case 'CONNECTION_LOST':\n            return traits.hasSession ? { kind: 'renewSession' } : retryAfter(0);\n        case 'LEADERSHIP_LOST':",
    killer: disturbed('set', 'kill-leader'),
  },
  {
    id: 'checkpoint-without-sessions',
    bug: 'a checkpoint leaves out the table of sessions',
    breaks: 'a write happens once, also when a node was restarted in between',
    file: 'packages/node/dist/src/state/meta-machine.js',
    find: 'for (const session of this.sessions.all()) {',
    replace: 'for (const session of []) {',
    killer: disturbed('retries', 'kill-during-checkpoint'),
  },
  {
    id: 'read-before-applied',
    bug: 'a read is served from a state that has not applied the index it needs',
    breaks: 'reads are linearizable on a node that catches up',
    file: `${REPLICA}/read-gate.js`,
    find: 'if (round.index > appliedIndex) {',
    replace: 'if (appliedIndex < 0) {',
    killer: disturbed('bank', 'network-slow'),
  },
];
