/**
 * What failpoints cost while they are off: the time of one of them, how many a write passes on a
 * node, and what that makes of the processor time of a write. Three nodes in this process on
 * virtual time: no sockets and no disk, which makes a write cheap and the share look large.
 */
import { armFailpoints, failpoint } from '@holdfast/base';
import { SimCluster } from '@holdfast/node/testing';
import { atMost, type Bench, figure } from '../result.ts';
import { median } from '../statistics.ts';

const CALL_COUNT = 20_000_000;
const ROUND_COUNT = 7;
const WRITE_COUNT = 3_000;
const NODE_COUNT = 3;
const SHARE_PERCENT_MAX = 0.1;
const WAIT_MS_MAX = 20_000;

export const failpointsBench: Bench = {
  name: 'failpoints',
  description: 'failpoints while they are off: their share of the processor time of a write',
  run: async ({ isQuick }) => {
    const [roundCount, callCount, writeCount] = isQuick
      ? [2, CALL_COUNT / 100, WRITE_COUNT / 100]
      : [ROUND_COUNT, CALL_COUNT, WRITE_COUNT];
    const callNs = Array.from({ length: roundCount }, () => nanosecondsPerCall(callCount));
    const writes = await measureWrites(writeCount);
    const costNs = median(callNs) * writes.passedPerWrite;
    return {
      figures: [
        figure('one place, off (median of rounds)', median(callNs), 'ns'),
        figure('places passed per write and node, one at a time', writes.passedPerWrite, ''),
        figure('processor time of a write and node', writes.processorNs / 1_000, 'us'),
        atMost('share of it', (costNs / writes.processorNs) * 100, '%', SHARE_PERCENT_MAX),
      ],
      notes: ['Writes one at a time pass the most places each: a batch shares nearly all of them.'],
      raw: { callNs, writes },
    };
  },
};

/** Of a loop with a place in it, less the same loop without. */
function nanosecondsPerCall(callCount: number): number {
  return Math.max(0, nanosecondsOf(passPlaces, callCount) - nanosecondsOf(passNothing, callCount));
}

function nanosecondsOf(loop: (count: number) => number, callCount: number): number {
  const startMs = performance.now();
  const passed = loop(callCount);
  const tookMs = performance.now() - startMs;
  if (passed !== callCount) throw new Error(`a loop of ${callCount} went round ${passed} times`);
  return (tookMs * 1e6) / callCount;
}

function passPlaces(count: number): number {
  let passed = 0;
  for (; passed < count; passed++) failpoint('request.admitted');
  return passed;
}

function passNothing(count: number): number {
  let passed = 0;
  for (; passed < count; passed++);
  return passed;
}

async function measureWrites(writeCount: number) {
  const cluster = new SimCluster({
    nodeCount: NODE_COUNT,
    seed: 1,
    latency: { networkMsMax: 2, diskMsMax: 2 },
  });
  await cluster.start();
  const leader = await cluster.leader();
  const ask = (request: Parameters<typeof cluster.execute>[1]) =>
    cluster.execute(leader, request, WAIT_MS_MAX);
  await ask({ kind: 'createCollection', id: 1, name: 'docs', dimension: 2, metric: 'l2' });
  const write = async (id: number): Promise<void> => {
    const points = [{ id, vector: new Float32Array([1, 2]) }];
    await ask({ kind: 'upsert', id: 1, collection: 'docs', points });
  };
  // The first half makes everything warm, and is what is counted.
  let passedCount = 0;
  armFailpoints(() => {
    passedCount += 1;
  });
  for (let i = 0; i < writeCount; i++) await write(i);
  armFailpoints(null);
  const start = process.cpuUsage();
  for (let i = 0; i < writeCount; i++) await write(writeCount + i);
  const { user, system } = process.cpuUsage(start);
  const perNode = writeCount * NODE_COUNT;
  return {
    passedPerWrite: passedCount / perNode,
    processorNs: ((user + system) * 1_000) / perNode,
  };
}
