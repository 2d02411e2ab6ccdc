/** Counts what the raft core reports, for metrics. Never decides anything. */
import type { RaftEvent } from '@holdfast/raft';
import type { RaftCounts } from '../service-api.ts';

type Mutable = { -readonly [Key in keyof RaftCounts]: number };

export class RaftCounters {
  readonly #counts: Mutable = {
    elections: 0,
    preVotes: 0,
    votesGranted: 0,
    roleChanges: 0,
    stepDowns: 0,
    leaderships: 0,
    transfersCompleted: 0,
    transfersFailed: 0,
    configurationChanges: 0,
    logTruncations: 0,
    diskStalls: 0,
    messagesRefused: 0,
  };

  get counts(): RaftCounts {
    return this.#counts;
  }

  count(events: readonly RaftEvent[]): void {
    for (const event of events) {
      const key = counterOf(event);
      if (key !== null) this.#counts[key] += 1;
      if (event.kind === 'roleChanged' && event.role === 'leader') this.#counts.leaderships += 1;
    }
  }
}

function counterOf(event: RaftEvent): keyof RaftCounts | null {
  switch (event.kind) {
    case 'campaignStarted':
      return event.isPreVote ? 'preVotes' : 'elections';
    case 'voteGranted':
      return 'votesGranted';
    case 'roleChanged':
      return 'roleChanges';
    case 'steppedDown':
      return 'stepDowns';
    case 'transferEnded':
      return event.outcome === 'completed' ? 'transfersCompleted' : 'transfersFailed';
    case 'confChanged':
      return 'configurationChanges';
    case 'logTruncated':
      return 'logTruncations';
    case 'diskStalled':
      return 'diskStalls';
    case 'messageRefused':
      return 'messagesRefused';
    // Others are counted where they happen, or are lines of the log only.
    default:
      return null;
  }
}
