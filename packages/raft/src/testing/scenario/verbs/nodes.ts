/**
 * `nodes a b c [learners=z] [election=10] [heartbeat=2] [prevote=off] [checkquorum=off] [seed=1]`
 * makes the group. Limits: `append-bytes`, `inflight`, `inflight-bytes`, `uncommitted-bytes`,
 * `entry-bytes`, `applying-bytes`, `reads`, `disk-stall`, `learner-rounds`; `leases` allows leases.
 * What a node finds on its disk: `a.terms=1,1,2` `a.term=3` `a.vote=b` `a.commit=1`. One node only:
 * `a.prevote=off` `a.checkquorum=off`.
 */
import type { Entry, LogIndex, Term } from '@holdfast/base';
import { EMPTY_LOG_SUM, nodeId } from '@holdfast/base';
import type { RaftOptions } from '../../../options.ts';
import { payload } from '../../core-cluster.ts';
import type { InMemoryLogStart } from '../../memory-log.ts';
import { testHash } from '../../test-hash.ts';
import type { Arguments } from '../arguments.ts';
import type { World } from '../world.ts';

export function nodes(world: World, args: Arguments): void {
  const learners = args.list('learners') ?? [];
  const seed = args.count('seed') ?? 1;
  const raft = raftOptionsOf(args);
  const isLeaseEnabled = args.flag('leases');
  const voters = args.words();
  args.check(voters.length > 0, 'needs the names of the voters');
  const starts = new Map([...voters, ...learners].map((name) => [name, startOf(args, name)]));
  const own = new Map([...voters, ...learners].map((name) => [name, ownOptionsOf(args, name)]));
  world.build({
    seed,
    voters,
    learners,
    isLeaseEnabled,
    raft,
    raftOf: (id) => own.get(id) ?? {},
    start: (id) => starts.get(id) ?? {},
  });
}

const givenOnly = (options: Readonly<Record<string, unknown>>): Partial<RaftOptions> =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== null));

const ownOptionsOf = (args: Arguments, name: string): Partial<RaftOptions> =>
  givenOnly({
    preVote: args.isOn(`${name}.prevote`),
    checkQuorum: args.isOn(`${name}.checkquorum`),
  });

function raftOptionsOf(args: Arguments): Partial<RaftOptions> {
  return givenOnly({
    electionTimeoutTicks: args.count('election'),
    heartbeatIntervalTicks: args.count('heartbeat'),
    preVote: args.isOn('prevote'),
    checkQuorum: args.isOn('checkquorum'),
    appendSizeBytesMax: args.count('append-bytes'),
    inflightCountMax: args.count('inflight'),
    inflightSizeBytesMax: args.count('inflight-bytes'),
    uncommittedSizeBytesMax: args.count('uncommitted-bytes'),
    entrySizeBytesMax: args.count('entry-bytes'),
    applyingSizeBytesMax: args.count('applying-bytes'),
    pendingReadCountMax: args.count('reads'),
    diskStallTicks: args.count('disk-stall'),
    learnerRoundsMax: args.count('learner-rounds'),
  });
}

function startOf(args: Arguments, name: string): Omit<InMemoryLogStart, 'conf'> {
  const terms = args.numbers(`${name}.terms`) ?? [];
  const term = args.count(`${name}.term`) ?? terms.at(-1) ?? 0;
  const vote = args.option(`${name}.vote`);
  const commit = args.count(`${name}.commit`) ?? 0;
  const hardState = {
    term: term as Term,
    vote: vote === null ? null : nodeId(vote),
    commit: commit as LogIndex,
  };
  return { entries: chainOf(terms), hardState };
}

/** Entries of equal position and term are equal on every node. */
function chainOf(terms: readonly number[]): Entry[] {
  let sum = EMPTY_LOG_SUM;
  return terms.map((value, i) => {
    const index = (i + 1) as LogIndex;
    const term = value as Term;
    const data = payload(`old${index}`);
    sum = testHash(sum, term, index, 'normal', data);
    return { index, term, type: 'normal', data, sum };
  });
}
