/**
 * Answers peers that repair their log from the durable log of this node, in whatever state it is
 * itself: running, or in its own repair. Only what passed its checksum leaves.
 */
import type { GroupId, Incarnation, Logger, LogIndex, NodeId } from '@holdfast/base';
import { HoldfastError, term } from '@holdfast/base';
import type { RaftMessage, RepairLog } from '@holdfast/raft';
import { answerEntryRequest } from '@holdfast/raft';
import type { GroupLog } from '@holdfast/storage';
import { rottenIndexOf } from '../replica/log-store.ts';

export type EntryRequest = Extract<RaftMessage, { readonly kind: 'entryRequest' }>;

export interface EntryResponderOptions {
  readonly nodeId: NodeId;
  readonly incarnation: Incarnation;
  readonly group: GroupId;
  readonly log: RepairLog & Pick<GroupLog, 'hardState'>;
  readonly send: (messages: readonly RaftMessage[]) => void;
  /** Last index this node has handed out as leader; null when it does not lead. */
  readonly leaderLastIndex: () => LogIndex | null;
  readonly confIndex: () => LogIndex;
  /** An entry could not be read: somebody mends it, and the peer asks again. */
  readonly onRot?: (index: LogIndex, rot: HoldfastError) => void;
  readonly logger: Logger;
}

export class EntryResponder {
  readonly #options: EntryResponderOptions;

  constructor(options: EntryResponderOptions) {
    this.#options = options;
  }

  /** True when the peer asked for entries that were compacted here: it needs a snapshot. */
  answer(request: EntryRequest): boolean {
    const { group, incarnation, log, nodeId } = this.#options;
    const isForUs =
      request.group === group &&
      request.to === nodeId &&
      request.toIncarnation === incarnation &&
      request.low >= 1 &&
      request.low < request.high;
    if (!isForUs) return false;
    const response: RaftMessage = {
      ...this.#bodyOf(request),
      group,
      from: nodeId,
      to: request.from,
      fromIncarnation: incarnation,
      toIncarnation: request.fromIncarnation,
      // Durable: what this node denies now it can never acknowledge to a leader of a lower term.
      term: log.hardState()?.term ?? term(0),
      confIndex: this.#options.confIndex(),
    };
    this.#options.send([response]);
    return request.low < log.firstIndex();
  }

  #bodyOf(request: EntryRequest) {
    const { leaderLastIndex, log, logger } = this.#options;
    try {
      return answerEntryRequest(log, request, { leaderLastIndex: leaderLastIndex() });
    } catch (thrown) {
      if (!(thrown instanceof HoldfastError) || thrown.code !== 'WAL_CORRUPT') throw thrown;
      logger.error({ details: thrown.details }, thrown.message);
      const index = rottenIndexOf(thrown);
      if (index !== null) this.#options.onRot?.(index, thrown);
      return {
        kind: 'entryResponse' as const,
        requestId: request.requestId,
        low: request.low,
        entries: [],
        firstIndex: log.firstIndex(),
        lastIndex: log.lastIndex(),
        isDamaged: true,
        isLeader: false,
      };
    }
  }
}
