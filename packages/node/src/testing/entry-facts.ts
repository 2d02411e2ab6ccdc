/** Log entries and messages in the words of a checker or of a failure report. */
import type { LogIndex, NodeId } from '@holdfast/base';
import { decodeRaftMessage } from '@holdfast/raft';
import type { GroupLog } from '@holdfast/storage';
import type { Command } from '../state/command.ts';
import { decodeCommand } from '../state/command.ts';

export interface EntryFacts {
  readonly type: 'normal' | 'noop' | 'conf';
  readonly commandKind: Command['kind'] | null;
  /** `session/sequence` of a write that a client may repeat. */
  readonly stamp: string | null;
}

/** Null when the log does not hold `index` any more, or not readably. */
export function entryFacts(log: GroupLog, index: LogIndex): EntryFacts | null {
  if (typeof log.term(index) === 'string' || index < log.firstIndex()) return null;
  const entries = log.entries(index, (index + 1) as LogIndex, 1);
  const entry = entries === 'compacted' ? undefined : entries[0];
  if (entry === undefined) return null;
  if (entry.type !== 'normal') return { type: entry.type, commandKind: null, stamp: null };
  const { command, session } = decodeCommand(entry.data);
  const stamp = session === null ? null : `${session.id}/${session.sequence}`;
  return { type: 'normal', commandKind: command.kind, stamp };
}

/** One line: who says what to whom. */
export function describeMessage(from: NodeId, bytes: Uint8Array): string {
  const message = decodeRaftMessage(bytes.slice(), from);
  const { kind, term, to } = message;
  const head = `${from}>${to} ${kind} t${term}`;
  switch (message.kind) {
    case 'vote':
    case 'preVote':
      return `${head} last ${message.lastIndex}@t${message.lastTerm} nonce ${message.nonce}`;
    case 'voteResponse':
    case 'preVoteResponse':
      return `${head} ${message.isGranted ? 'granted' : `refused: ${message.refusal}`}`;
    case 'append': {
      const { prevIndex, prevTerm, entries, commit } = message;
      return `${head} after ${prevIndex}@t${prevTerm}: ${entries.length} entries, commit ${commit}`;
    }
    case 'appendResponse': {
      const { matchIndex, rejection } = message;
      return `${head} ${rejection === null ? `match ${matchIndex}` : JSON.stringify(rejection)}`;
    }
    case 'snapshot':
      return `${head} at ${message.meta.index}`;
    case 'heartbeat':
      return `${head} commit ${message.commit} round ${message.round}`;
    default:
      return head;
  }
}
