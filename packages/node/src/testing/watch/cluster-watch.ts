/**
 * The global invariants of a simulated group of whole nodes, checked after every step of every
 * node. A violation is an InvariantViolation that ends the run.
 *
 * - election safety: a term is led by at most one life of one replica;
 * - leader completeness: a leader holds everything committed in earlier terms;
 * - log matching, committed on a durable quorum, committed never changes (committed-ledger.ts);
 * - state machine safety: what a replica applies is what was committed, and digests at one applied
 *   index are equal;
 * - purged <= checkpoint <= committed, applied <= committed <= last;
 * - term, vote, commit and applied never go back in one life;
 * - nothing is promised before it is durable, and restarts keep promises (promises.ts);
 * - at most one configuration is uncommitted.
 */
import type { ConfState, Incarnation, LogIndex, NodeId, Term } from '@holdfast/base';
import { assert, sumsEqual } from '@holdfast/base';
import type { RaftMessage, RaftStatus } from '@holdfast/raft';
import type { GroupLog } from '@holdfast/storage';
import type { SimNode } from '../sim-node.ts';
import { CommittedLedger } from './committed-ledger.ts';
import { Promises } from './promises.ts';

/** What was true of one life at its last check. */
interface LifeFacts {
  boot: number;
  role: RaftStatus['role'];
  term: Term;
  vote: NodeId | null;
  leader: NodeId | null;
  commit: LogIndex;
  applied: LogIndex;
  lastIndex: LogIndex;
  logLast: LogIndex;
  logSum: Uint8Array | string;
  logBase: LogIndex;
}

/** Encoded bytes of one look at an uncommitted tail; a tail is bounded far below. */
const TAIL_SIZE_BYTES_MAX = 64 * 1024 * 1024;

export class ClusterWatch {
  readonly ledger = new CommittedLedger((log, index) => this.onEntry?.(log, index));
  /** Told of every entry that becomes durable anywhere, once per (index, term). */
  onEntry: ((log: GroupLog, index: LogIndex) => void) | null = null;
  readonly #nodes: readonly SimNode[];
  readonly #lives = new Map<NodeId, LifeFacts>();
  readonly #promises = new Map<Incarnation, Promises>();
  /** As the newest boot of each incarnation has it. */
  readonly #logOfIncarnation = new Map<Incarnation, GroupLog>();
  readonly #leaders = new Map<Term, string>();
  readonly #digests = new Map<number, { readonly digest: string; readonly id: NodeId }>();
  checkCount = 0;
  digestCount = 0;
  /** Digests of two nodes that met at one index. */
  digestMeetingCount = 0;

  constructor(nodes: readonly SimNode[]) {
    this.#nodes = nodes;
  }

  get termsLed(): number {
    return this.#leaders.size;
  }

  /** The node's log was opened and its replica exists. */
  onRunning(node: SimNode): void {
    const log = logOf(node);
    this.#lives.delete(node.id);
    this.#logOfIncarnation.set(node.incarnation, log);
    this.#promisesOf(node).checkRestart(log, this.ledger);
    this.ledger.logChanged(node.id, log);
    this.check(node);
  }

  onSend(from: NodeId, message: RaftMessage): void {
    const node = this.#nodes.find(({ id }) => id === from);
    // What a process sent in the turn in which it died has left it all the same.
    if (node?.log == null) return;
    this.#promisesOf(node).messageLeaving(message, node.log);
  }

  /** To be called after every step of `node`; false when nothing in it has changed since. */
  check(node: SimNode): boolean {
    if (node.state !== 'running') return true;
    this.checkCount += 1;
    const status = node.node.replica.raftStatus();
    const log = logOf(node);
    const before = this.#lives.get(node.id);
    if (before === undefined || before.boot !== node.boot) {
      this.#checkOrder(node, status);
      this.#checkNews(node, status, log, null);
      return true;
    }
    const isLogNews =
      before.logLast !== log.lastIndex() ||
      before.logBase !== log.base().index ||
      !isSameSum(before.logSum, log.sum(log.lastIndex()));
    const isNews =
      isLogNews ||
      before.role !== status.role ||
      before.leader !== status.leader ||
      before.term !== status.term ||
      before.vote !== status.vote ||
      before.commit !== status.commit ||
      before.applied !== status.applied ||
      before.lastIndex !== status.lastIndex;
    if (!isNews) return false;
    this.#checkOrder(node, status);
    this.#checkMonotone(node, before, status);
    this.#checkNews(node, status, log, before);
    return true;
  }

  /** What is too dear for every step. */
  checkDeep(node: SimNode): void {
    if (node.state !== 'running') return;
    const log = logOf(node);
    node.node.core.checkInvariants();
    this.#checkUncommittedConf(node, log);
    const { boot, isLying: wasLying } = node;
    node.node.service.stateDigest().then(
      ({ digest, appliedIndex }) => {
        if (node.boot !== boot || node.isLying || wasLying) return;
        this.#checkDigest(node.id, digest, appliedIndex);
      },
      // The node stopped, or is replacing its state: no digest this time.
      () => undefined,
    );
  }

  digestSeen(id: NodeId, digest: string, appliedIndex: number): void {
    this.#checkDigest(id, digest, appliedIndex);
  }

  #checkOrder(node: SimNode, status: RaftStatus): void {
    const { commit, applied, lastIndex } = status;
    const base = logOf(node).base().index;
    const { root } = node.node.replica.checkpointer;
    const checkpoint = root?.meta.index ?? 0;
    const facts = { id: node.id, base, checkpoint, applied, commit, lastIndex };
    assert(applied <= commit, 'applied beyond committed', facts);
    assert(commit <= lastIndex, 'committed beyond the log', facts);
    assert(base <= checkpoint, 'the log was cut beyond the checkpoint', facts);
    assert(
      checkpoint <= this.ledger.committedIndex || checkpoint <= commit,
      'checkpoint of what is not committed',
      facts,
    );
    if (root !== null)
      this.ledger.checkSum(node.id, root.meta.index, root.meta.sum, 'a checkpoint');
  }

  #checkMonotone(node: SimNode, before: LifeFacts, status: RaftStatus): void {
    const facts = { id: node.id, before, status };
    assert(status.term >= before.term, 'a term went back', facts);
    assert(status.commit >= before.commit, 'a commit index went back', facts);
    assert(status.applied >= before.applied, 'an applied index went back', facts);
    const hasChangedVote =
      status.term === before.term && before.vote !== null && status.vote !== before.vote;
    assert(!hasChangedVote, 'a vote changed within its term', facts);
  }

  #checkNews(node: SimNode, status: RaftStatus, log: GroupLog, before: LifeFacts | null): void {
    const { id } = node;
    const { role, term, commit, applied } = status;
    const logLast = log.lastIndex();
    const logSum = log.sum(logLast);
    if (before === null || before.logLast !== logLast || !isSameSum(before.logSum, logSum))
      this.ledger.logChanged(id, log);
    if (role === 'leader' && (before?.role !== 'leader' || before.term !== term))
      this.#checkLeader(node, status, log);
    if (commit > this.ledger.committedIndex)
      this.ledger.commitKnown(commit, term, status.conf, this.#logs(status.conf));
    // Beyond `durable` the disk may still hold a tail that memory has replaced already.
    const held = Math.min(commit, status.durable, logLast) as LogIndex;
    this.ledger.checkCommitted(id, held, log, 'the log of a replica');
    this.#promisesOf(node).held(held);
    const isCounting = role === 'leader' && before?.role === 'leader' && before.term === term;
    if (isCounting && commit > before.commit) {
      const termThere = log.term(commit);
      const isOwn = typeof termThere === 'string' || termThere === term;
      assert(isOwn, 'an entry of an earlier term was committed by counting (section 5.4.2)', {
        ...{ id, commit, term, termThere },
      });
    }
    if (applied > (before?.applied ?? 0)) {
      this.ledger.checkCommitted(id, applied, log, 'applied');
      assert(logLast >= applied, 'applied what is not durable', { id, applied, logLast });
    }
    this.#lives.set(id, {
      ...{ boot: node.boot, role, term, commit, applied, logLast, logSum },
      ...{ vote: status.vote, leader: status.leader },
      lastIndex: status.lastIndex,
      logBase: log.base().index,
    });
  }

  #checkLeader(node: SimNode, status: RaftStatus, log: GroupLog): void {
    const { term, lastIndex } = status;
    const name = `${node.id} ${node.incarnation.slice(0, 8)}, boot ${node.boot}`;
    const known = this.#leaders.get(term);
    assert(known === undefined || known === name, 'a term was led twice', { term, known, name });
    this.#leaders.set(term, name);
    const index = this.ledger.committedBefore(term);
    assert(lastIndex >= index, 'a leader lacks committed entries', {
      name,
      term,
      index,
      lastIndex,
    });
    this.ledger.checkSum(node.id, index, log.sum(index), `the log of the leader of term ${term}`);
  }

  #checkUncommittedConf(node: SimNode, log: GroupLog): void {
    const { commit } = node.node.replica.raftStatus();
    const low = Math.max(commit + 1, log.firstIndex()) as LogIndex;
    const high = (log.lastIndex() + 1) as LogIndex;
    if (low >= high) return;
    const entries = log.entries(low, high, TAIL_SIZE_BYTES_MAX);
    if (entries === 'compacted') return;
    const confs = entries.filter((entry) => entry.type === 'conf').map((entry) => entry.index);
    assert(confs.length <= 1, 'more than one uncommitted configuration', { id: node.id, confs });
  }

  #checkDigest(id: NodeId, digest: string, appliedIndex: number): void {
    this.digestCount += 1;
    const known = this.#digests.get(appliedIndex);
    if (known === undefined) {
      this.#digests.set(appliedIndex, { digest, id });
      return;
    }
    if (known.id !== id) this.digestMeetingCount += 1;
    assert(known.digest === digest, 'two replicas have different states at one index', {
      appliedIndex,
      ids: [known.id, id],
    });
  }

  /**
   * Logs of the very members that `conf` names: another incarnation is another replica. One that
   * lost its disk has acknowledged what it held; until it is replaced nobody else has its vote.
   */
  #logs(conf: ConfState): ReadonlyMap<NodeId, GroupLog> {
    for (const { incarnation, log } of this.#nodes)
      if (log !== null) this.#logOfIncarnation.set(incarnation, log);
    const logs = new Map<NodeId, GroupLog>();
    for (const { incarnation, nodeId } of conf.members) {
      const log = this.#logOfIncarnation.get(incarnation);
      if (log !== undefined) logs.set(nodeId, log);
    }
    return logs;
  }

  #promisesOf({ id, incarnation }: SimNode): Promises {
    const known = this.#promises.get(incarnation);
    if (known !== undefined) return known;
    const fresh = new Promises(id);
    this.#promises.set(incarnation, fresh);
    return fresh;
  }
}

function logOf(node: SimNode): GroupLog {
  const { log } = node;
  assert(log !== null, 'a running node has a log', { id: node.id });
  return log;
}

const isSameSum = (left: Uint8Array | string, right: Uint8Array | string): boolean =>
  typeof left === 'string' || typeof right === 'string' ? left === right : sumsEqual(left, right);
