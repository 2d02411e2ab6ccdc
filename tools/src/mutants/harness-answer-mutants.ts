/** Answers that are wrong while all is well, or while lines are bad: nothing has to be lost. */
import type { ClusterKiller, HarnessMutant } from './harness-killers.ts';

const REPLICA = 'packages/node/dist/src/replica';
const STATE = 'packages/node/dist/src/state';
const ENGINE = 'packages/shard-worker/dist/src/engine';

/** Without faults ten seconds are thousands of operations. */
const calm = (workload: string): ClusterKiller => ({
  ...{ kind: 'cluster' as const, workload, nemesis: 'none', nodeCount: 3 as const },
  ...{ seconds: 10, intervalSeconds: 5, seed: 1 },
});

const disturbed = (workload: string, nemesis: string): ClusterKiller => ({
  ...{ kind: 'cluster' as const, workload, nemesis, nodeCount: 3 as const },
  ...{ seconds: 12, intervalSeconds: 2, seed: 1 },
});

export const ANSWER_MUTANTS: readonly HarnessMutant[] = [
  {
    id: 'follower-reads-unconfirmed',
    bug: 'a read answers with what it saw before the leader named the index it must see',
    breaks: 'reads are linearizable on every node',
    file: `${REPLICA}/read-requests.js`,
    find: 'else if (answers.index >= confirmedIndex && this.#isStill(definition))',
    replace: 'else if (this.#isStill(definition))',
    killer: disturbed('batch', 'network-slow'),
  },
  {
    id: 'name-is-looked-up-once',
    bug: 'a read answers with rows of a collection that was dropped after its name was looked up',
    breaks: 'an answer is the state of one index, names included',
    file: `${REPLICA}/read-requests.js`,
    find: 'return this.#replica.meta.catalogue.byName(definition.name) === definition;',
    replace: 'return true;',
    // A drop has to fall between the look at a name and the look at its rows.
    killer: { ...disturbed('schema', 'network-slow'), seconds: 40 },
  },
  {
    id: 'deposed-leader-serves-reads',
    bug: 'a node that knows no leader answers reads from what it has',
    breaks: 'reads are linearizable, also on a leader that was cut off',
    file: `${REPLICA}/read-gate.js`,
    find: 'this.#reject(reads, dropError(outcome.drop, outcome.leader));',
    replace:
      'this.#waitingCount -= reads.length;\n            for (const read of reads)\n                read.resolve(0);',
    killer: disturbed('register', 'partition-leader'),
  },
  {
    id: 'if-version-is-at-least',
    bug: 'a condition on a version also holds when the point has a newer one',
    breaks: 'compare-and-set loses nothing',
    file: 'packages/shard-worker/dist/src/point-op.js',
    find: 'return version === this.view.getFloat64(this.offset + 24, true);',
    replace: 'return version >= this.view.getFloat64(this.offset + 24, true);',
    killer: calm('append'),
  },
  {
    id: 'first-condition-decides',
    bug: 'of the conditions of a batch only the first one is looked at',
    breaks: 'a batch is written if all of its conditions hold',
    file: `${ENGINE}/apply.js`,
    find: 'while (conflicts.length < CONFLICTS_MAX && op.next()) {',
    replace: 'for (let isFirst = true; isFirst && op.next(); isFirst = false) {',
    killer: calm('bank'),
  },
  {
    id: 'one-conflict-is-none',
    bug: 'a batch over several lanes is written although one of its conditions does not hold',
    breaks: 'a batch over shards is all or nothing',
    file: `${REPLICA}/applier.js`,
    find: 'await voteInBatchOrder(this.#host, this.#postedIndex, step, parts);',
    replace: '(await voteInBatchOrder(this.#host, this.#postedIndex, step, parts)).slice(1);',
    killer: calm('bank'),
  },
  {
    id: 'lanes-are-read-in-turn',
    bug: 'the lanes of a read are asked one after the other, each at its own log index',
    breaks: 'who sees a batch in one point sees it in all',
    file: `${REPLICA}/read-requests.js`,
    find: "return lanes.read([...byLane.keys()], deadlineMs, (lane) => ({\n                kind: 'get',",
    replace: `const inTurn = (asked, untilMs, readOf) => asked.reduce(async (before, lane) => {
                const { results } = await before;
                const next = await lanes.read([lane], untilMs, readOf);
                return { index: next.index, results: [...results, ...next.results] };
            }, Promise.resolve({ results: [] }));
            return inTurn([...byLane.keys()], deadlineMs, (lane) => ({
                kind: 'get',`,
    killer: calm('batch'),
  },
  {
    id: 'answer-names-newer-index',
    bug: 'a read names the index applied when it is answered, not the one whose state it saw',
    breaks: 'a stale read is the state at the index it names',
    file: `${REPLICA}/read-requests.js`,
    find: 'mergeGet(results, request.ids).map(storedPoint), appliedIndex: index };',
    replace:
      'mergeGet(results, request.ids).map(storedPoint), appliedIndex: Math.max(index, this.#replica.meta.appliedIndex) };',
    killer: calm('sessions'),
  },
  {
    id: 'staleness-is-ignored',
    bug: 'a stale read is answered however long the node has heard of nobody',
    breaks: 'a stale read is as old as was allowed',
    file: `${REPLICA}/read-requests.js`,
    find: 'if (stalenessMs <= allowedMs)',
    replace: 'if (allowedMs >= 0)',
    killer: disturbed('sessions', 'partition-one'),
  },
  {
    id: 'newest-rows-unscanned',
    bug: 'an exact search leaves out the newest rows that do not fill a group of sixteen',
    breaks: 'an acknowledged point is found by an exact search',
    file: `${ENGINE}/search.js`,
    find: 'const count = Math.min(BLOCK_ROW_COUNT, end - start);\n        const results',
    replace:
      'const left = end - start;\n        const count = Math.min(BLOCK_ROW_COUNT, left > 16 ? left & ~15 : left);\n        const results',
    killer: calm('search'),
  },
  {
    id: 'dead-rows-are-found',
    bug: 'a search compares deleted and overwritten rows as well',
    breaks: 'a deleted point is never found',
    file: `${ENGINE}/search.js`,
    find: 'if ((flag & FLAG_LIVE) === 0)\n            continue;\n        const key',
    replace: 'const key',
    killer: calm('search'),
  },
  {
    id: 'collection-is-made-anew',
    bug: 'creating a collection that exists, with ifNotExists, makes it anew',
    breaks: 'a retry of a schema change changes nothing',
    file: `${STATE}/catalogue.js`,
    find: "if (ifNotExists && isSameSpec(existing, spec))\n                return { kind: 'exists', definition: existing };\n            return",
    replace: 'if (!ifNotExists || !isSameSpec(existing, spec))\n                return',
    killer: calm('schema'),
  },
  {
    id: 'index-misses-new-rows',
    bug: 'a payload index counts a new row as taken and does not take it',
    breaks: 'a filter finds what matches it, with and without an index',
    file: 'packages/shard-worker/dist/src/payload/payload-indexes.js',
    find: 'if (built.builtRowCount === row)\n                this.#take(built, row);',
    replace: 'if (built.builtRowCount === row)\n                built.builtRowCount = row + 1;',
    killer: calm('schema'),
  },
  {
    id: 'answered-write-runs-again',
    bug: 'a repeat is known only while the first request is under way',
    breaks: 'a write happens once',
    file: `${STATE}/sessions.js`,
    find: 'if (known !== undefined) {',
    replace: 'if (known !== undefined && known.slot.result === null) {',
    killer: calm('retries'),
  },
  {
    id: 'rows-have-local-time',
    bug: 'every replica stamps rows with its own clock instead of the time in the log',
    breaks: 'replicas are equal at an equal index',
    file: `${STATE}/meta-machine.js`,
    find: 'ops, timestampMs: entry.timeMs',
    replace: 'ops, timestampMs: Date.now()',
    killer: calm('set'),
  },
  {
    id: 'lease-never-ends',
    bug: 'a leader answers by a lease that ran out while it stood still',
    breaks: 'reads by lease are linearizable, also on a leader that stood still',
    file: 'packages/raft/dist/src/lease.js',
    find: 'if (nowMs >= leaseExpiryMs(state))',
    replace: 'if (leaseExpiryMs(state) < 0)',
    killer: disturbed('leases', 'pause-leader'),
  },
];
