/**
 * One replica alone among forged messages, in any role and with any log. Its host loop runs as
 * always, with a disk and a state machine that lag behind. Global invariants cannot hold against
 * forged acknowledgements; what must hold is that it never breaks, keeps its own invariants, and
 * that what it refuses leaves no trace.
 */
import type { Entry, LogIndex, NodeId, Random, Term } from '@holdfast/base';
import { assert, DEFAULT_GROUP_ID, EMPTY_LOG_SUM, nodeId, SeededRandom } from '@holdfast/base';
import type { RaftMessage } from '../../messages.ts';
import type { RaftEvent } from '../../ready.ts';
import { confOf, incarnationOf, payload } from '../core-cluster.ts';
import { InMemoryLog } from '../memory-log.ts';
import { SimReplica } from '../sim-replica.ts';
import { testHash } from '../test-hash.ts';

const MEMBERS = ['a', 'b', 'c', 'd', 'e'].map(nodeId);

export class Victim {
  readonly replica: SimReplica;
  /** Those a message may come from: the group and one stranger. */
  readonly members: readonly NodeId[];
  readonly #random: Random;
  #sent: RaftMessage[] = [];
  #nowMs = 0;
  refusedCount = 0;

  constructor(random: Random) {
    this.#random = random;
    const voters = MEMBERS.slice(0, [1, 2, 3, 3, 5][random.nextBelow(5)]);
    this.members = [...voters.slice(1), nodeId('z'), nodeId('stranger')];
    const log = startingLog(random, voters);
    const options = {
      id: MEMBERS[0]!,
      group: DEFAULT_GROUP_ID,
      incarnation: incarnationOf('a'),
      random: new SeededRandom(random.nextU32()),
      hash: testHash,
      electionTimeoutTicks: 3 + random.nextBelow(5),
      heartbeatIntervalTicks: 1,
      preVote: random.nextBelow(2) === 0,
      checkQuorum: random.nextBelow(2) === 0,
      appendSizeBytesMax: 200,
      inflightCountMax: 3,
      uncommittedSizeBytesMax: 2_000,
      entrySizeBytesMax: 1_000,
      applyingSizeBytesMax: 500,
      pendingReadCountMax: 6,
    };
    this.replica = new SimReplica(options, log, {
      boot: 1,
      observer: {},
      send: (message) => this.#sent.push(message),
    });
    this.#pump();
    if (random.nextBelow(2) === 0) this.#lead();
  }

  /** Steps `message`; what it refuses must have changed nothing that can be seen. */
  take(message: RaftMessage): void {
    const { core } = this.replica;
    const before = pictureOf(this.replica);
    const refusedBefore = core.status().refusedMessageCount;
    core.step(message);
    core.checkInvariants();
    const isRefused = core.status().refusedMessageCount > refusedBefore;
    const after = isRefused ? pictureOf(this.replica) : before;
    this.replica.events = [];
    this.#pump();
    if (!isRefused) return;
    this.refusedCount += 1;
    if (this.replica.events.some(isOtherwise)) return;
    assert(before === after, 'a refused message left a trace', { before, after, message });
  }

  /** Something that happens on a node anyway. */
  live(): void {
    const { replica } = this;
    const { core } = replica;
    switch (this.#random.nextBelow(9)) {
      case 0:
        this.#nowMs += 20;
        core.tick(this.#nowMs);
        break;
      case 1:
        core.propose([payload('x')]);
        break;
      case 2:
        core.readIndex();
        break;
      case 3:
        core.campaign();
        break;
      case 4:
        core.forgetLeader();
        break;
      case 5:
      case 6:
        replica.applyNext();
        break;
      default:
        replica.syncAll();
    }
    this.#pump();
    core.checkInvariants();
  }

  #pump(): void {
    this.replica.pump();
    this.#sent = this.#sent.slice(-8);
  }

  /** Wins an election, if the votes of the others can make it. */
  #lead(): void {
    const { core } = this.replica;
    core.campaign();
    for (let round = 0; round < 2; round++) {
      this.#pump();
      this.replica.syncAll();
      for (const request of this.#sent) {
        if (request.kind !== 'vote' && request.kind !== 'preVote') continue;
        core.step({
          kind: request.kind === 'vote' ? 'voteResponse' : 'preVoteResponse',
          isGranted: true,
          nonce: request.nonce,
          refusal: null,
          group: request.group,
          from: request.to,
          to: request.from,
          fromIncarnation: request.toIncarnation,
          toIncarnation: request.fromIncarnation,
          term: (request.kind === 'vote' ? request.term : request.term - 1) as Term,
          confIndex: 0 as LogIndex,
        });
      }
    }
    this.#pump();
  }
}

/** A sound append that finds the disk too far behind; an answer to a read of who is no member. */
const isOtherwise = (event: RaftEvent): boolean =>
  event.kind === 'messageRefused' &&
  (event.reason === 'log-tail-full' || event.reason === 'incarnation-unknown');

/** Everything a peer or client could ever notice, as text. */
function pictureOf({ core }: SimReplica): string {
  const s = core.status();
  const peers = s.peers.map((p) => [p.id, p.matchIndex, p.nextIndex, p.state, p.inflightCount]);
  return [
    s.role,
    s.term,
    s.vote,
    s.leader,
    s.commit,
    s.applied,
    s.firstIndex,
    s.lastIndex,
    s.durable,
    s.uncommittedSizeBytes,
    s.pendingReadCount,
    s.conf.voters,
    peers,
  ].join(' ');
}

function startingLog(random: Random, voters: readonly NodeId[]): InMemoryLog {
  const conf = confOf(voters, ['z']);
  let sum = EMPTY_LOG_SUM;
  let term = 1;
  const entries: Entry[] = [];
  for (let i = random.nextBelow(12); i > 0; i--) {
    if (random.nextBelow(3) === 0) term += 1 + random.nextBelow(2);
    const index = (entries.length + 1) as LogIndex;
    const data = payload(`e${index}`);
    sum = testHash(sum, term as Term, index, 'normal', data);
    entries.push({ index, term: term as Term, type: 'normal', data, sum });
  }
  const commit = random.nextBelow(entries.length + 1);
  const base = commit === 0 || random.nextBelow(3) > 0 ? null : entries[random.nextBelow(commit)]!;
  const hardState = {
    term: (term + random.nextBelow(3)) as Term,
    vote: random.nextBelow(2) === 0 ? null : voters[random.nextBelow(voters.length)]!,
    commit: commit as LogIndex,
  };
  if (base === null) return new InMemoryLog({ conf, hardState, entries });
  const { index, sum: baseSum, term: baseTerm } = base;
  const confIndex = 0 as LogIndex;
  const snapshot = { index, term: baseTerm, sum: baseSum, conf, confIndex, id: 'start' };
  const rest = entries.slice(index);
  return new InMemoryLog({ conf, hardState, entries: rest, snapshot, applied: index });
}
