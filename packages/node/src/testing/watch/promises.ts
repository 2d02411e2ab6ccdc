/**
 * What a replica has promised to others and a crash must not undo: the term it spoke in, its vote
 * in it, and the entries it acknowledged or was counted for. Checked when a message leaves, against
 * what its log has reported durable, and again at every restart, against what is really there.
 */
import type { LogIndex, NodeId, Term } from '@holdfast/base';
import { assert } from '@holdfast/base';
import type { RaftMessage } from '@holdfast/raft';
import type { GroupLog } from '@holdfast/storage';
import type { CommittedLedger } from './committed-ledger.ts';

export class Promises {
  readonly #id: NodeId;
  #term = 0 as Term;
  #vote: NodeId | null = null;
  /** Committed entries up to here were seen in its durable log. */
  #heldThrough = 0 as LogIndex;

  constructor(id: NodeId) {
    this.#id = id;
  }

  /** A peer may rely on `message` as soon as it is sent. */
  messageLeaving(message: RaftMessage, log: GroupLog): void {
    switch (message.kind) {
      case 'preVote':
      case 'entryRequest':
      case 'entryResponse':
        return;
      case 'vote':
        this.#checkTerm(message, log);
        this.#checkVote(message.term, this.#id, log);
        this.#checkTail(message.lastIndex, message.lastTerm, log, 'campaigned with');
        return;
      case 'voteResponse':
        this.#checkTerm(message, log);
        if (message.isGranted) this.#checkVote(message.term, message.to, log);
        return;
      case 'appendResponse': {
        this.#checkTerm(message, log);
        // A later leader may have cut the log since this was written; then it is not its business.
        if (log.hardState()?.term !== message.term) return;
        const last = log.lastIndex();
        assert(last >= message.matchIndex, 'acknowledged beyond what is durable', {
          id: this.#id,
          matchIndex: message.matchIndex,
          last,
        });
        return;
      }
      default:
        this.#checkTerm(message, log);
    }
  }

  held(index: LogIndex): void {
    this.#heldThrough = Math.max(this.#heldThrough, index) as LogIndex;
  }

  /** What was found on disk after a restart keeps every promise. */
  checkRestart(log: GroupLog, ledger: CommittedLedger): void {
    const hardState = log.hardState();
    const found = hardState?.term ?? 0;
    assert(found >= this.#term, 'a restart forgot a term', {
      id: this.#id,
      promised: this.#term,
      found,
    });
    if (found === this.#term && this.#vote !== null) {
      assert(hardState?.vote === this.#vote, 'a restart forgot a vote', {
        id: this.#id,
        term: found,
        promised: this.#vote,
        found: hardState?.vote ?? null,
      });
    }
    const last = log.lastIndex();
    assert(last >= this.#heldThrough, 'a restart lost committed entries', {
      id: this.#id,
      promised: this.#heldThrough,
      last,
    });
    ledger.checkSum(this.#id, this.#heldThrough, log.sum(this.#heldThrough), 'after a restart');
  }

  #checkTerm(message: RaftMessage, log: GroupLog): void {
    const durable = log.hardState()?.term ?? 0;
    assert(durable >= message.term, 'a message overtook its own term', {
      id: this.#id,
      kind: message.kind,
      term: message.term,
      durable,
    });
    if (message.term <= this.#term) return;
    this.#term = message.term;
    this.#vote = null;
  }

  #checkVote(term: Term, vote: NodeId, log: GroupLog): void {
    const hardState = log.hardState();
    if (hardState === null || hardState.term > term) return;
    assert(hardState.vote === vote, 'gave a vote that is not durable', {
      id: this.#id,
      term,
      vote,
      durable: hardState.vote,
    });
    if (term === this.#term) this.#vote = vote;
  }

  /** A log replaced since by one that wins the comparison promises more, not less. */
  #checkTail(lastIndex: LogIndex, lastTerm: Term, log: GroupLog, what: string): void {
    const last = log.lastIndex();
    const term = log.term(last);
    const isBeyond = typeof term === 'number' && term > lastTerm;
    assert(isBeyond || last >= lastIndex, `${what} a log that is not durable`, {
      id: this.#id,
      lastIndex,
      lastTerm,
      durable: last,
    });
  }
}
