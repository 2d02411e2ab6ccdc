/**
 * The pure core: three replicas in this thread, 64-byte proposals, everything committed and applied
 * on all three. Batches of 256 beside single proposals in the same run, rounds alternating, and
 * beside the entry hash alone, which every replica computes for every entry: what no core can beat.
 *
 * Rates are per second of processor time of this process, helpers of the garbage collector counted,
 * so that other work on the machine changes them little; the rate by the clock is shown beside.
 */
import { EMPTY_LOG_SUM, type LogIndex, SeededRandom, type Term } from '@holdfast/base';
import { createEntryHasher } from '@holdfast/storage';
import { RaftGroup } from '../raft-group/raft-group.ts';
import { atLeast, type Bench, figure } from '../result.ts';
import { median } from '../statistics.ts';

const PROPOSAL_SIZE_BYTES = 64;
const BATCH_COUNT = 256;
const RATE_MIN = 300_000;
/** Different payloads, so that nothing can profit from equal ones. */
const PAYLOAD_COUNT = 1_024;
/** Host turns between two ticks; 20 ms would be more of them. */
const TURNS_PER_TICK = 64;
const REPLICA_COUNT = 3;

export const raftBench: Bench = {
  name: 'raft',
  description: 'the pure core: 64-byte proposals, three replicas in one thread, no I/O',
  run: async (context) => {
    const roundCount = context.isQuick ? 1 : 7;
    const durationMs = context.isQuick ? 100 : 2_000;
    const payloads = makePayloads();
    measureRate(payloads, BATCH_COUNT, context.isQuick ? 50 : 1_000);
    const batched: number[] = [];
    const byTheClock: number[] = [];
    const single: number[] = [];
    const hashing: number[] = [];
    for (let number = 1; number <= roundCount; number++) {
      const round = measureRate(payloads, BATCH_COUNT, durationMs);
      batched.push(round.perProcessorSecond);
      byTheClock.push(round.perSecond);
      single.push(measureRate(payloads, 1, durationMs / 2).perProcessorSecond);
      hashing.push(measureHash(payloads, durationMs / 4));
      context.log(
        `raft round ${number}: ${Math.round(batched.at(-1)!)}/s in batches, ` +
          `${Math.round(single.at(-1)!)}/s one by one`,
      );
    }
    return {
      figures: [
        atLeast('entries committed and applied on all', median(batched), '/s', RATE_MIN),
        figure('the same by the clock', median(byTheClock), '/s'),
        figure('one proposal at a time', median(single), '/s'),
        figure('entry hash alone, three times an entry', median(hashing), '/s'),
      ],
      notes: [
        `batches of ${BATCH_COUNT}; entry hash xxh128 as in production; assertions on; ` +
          'messages by reference, log in memory',
      ],
      raw: { batched, byTheClock, single, hashing },
    };
  },
};

function makePayloads(): readonly Uint8Array[] {
  const random = new SeededRandom(1);
  return Array.from({ length: PAYLOAD_COUNT }, () =>
    Uint8Array.from({ length: PROPOSAL_SIZE_BYTES }, () => random.nextBelow(256)),
  );
}

interface Rate {
  readonly perSecond: number;
  readonly perProcessorSecond: number;
}

/** Entries that were committed, durable and applied on every replica. */
function measureRate(
  payloads: readonly Uint8Array[],
  batchCount: number,
  durationMs: number,
): Rate {
  const group = new RaftGroup();
  const before = group.appliedIndex;
  const startMs = performance.now();
  const processorBefore = process.cpuUsage();
  let at = 0;
  let elapsedMs = 0;
  while (elapsedMs < durationMs) {
    for (let turn = 0; turn < TURNS_PER_TICK; turn++) {
      group.propose(payloads.slice(at, at + batchCount));
      at = (at + batchCount) % PAYLOAD_COUNT;
    }
    group.tick();
    elapsedMs = performance.now() - startMs;
  }
  const { user, system } = process.cpuUsage(processorBefore);
  const count = group.appliedIndex - before;
  return {
    perSecond: (count / elapsedMs) * 1_000,
    perProcessorSecond: (count / (user + system)) * 1_000_000,
  };
}

function measureHash(payloads: readonly Uint8Array[], durationMs: number): number {
  const hash = createEntryHasher();
  const startMs = performance.now();
  const processorBefore = process.cpuUsage();
  let sum: Uint8Array = EMPTY_LOG_SUM;
  let count = 0;
  let elapsedMs = 0;
  while (elapsedMs < durationMs) {
    for (const payload of payloads) {
      count += 1;
      sum = hash(sum, 1 as Term, count as LogIndex, 'normal', payload);
    }
    elapsedMs = performance.now() - startMs;
  }
  const { user, system } = process.cpuUsage(processorBefore);
  return (count / REPLICA_COUNT / (user + system)) * 1_000_000;
}
