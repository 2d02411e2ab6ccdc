/** A lane's thread that can be told to fail: the real one, with some ids that are orders. */
import { createLaneRunner } from '../host/lane-thread.ts';
import type { ShardReply, ShardTask } from '../tasks.ts';
import { LANE_FAULT_IDS } from './lane-faults.ts';

const runner = createLaneRunner();
let isHangingAtApply = false;
const leak: unknown[] = [];

export default (task: ShardTask): ShardReply | Promise<ShardReply> => {
  if (task.kind === 'apply' && isHangingAtApply) hang();
  if (task.kind === 'read')
    for (const read of task.reads) if (read.kind === 'get') obey(read.ids[0]);
  return runner.run(task);
};

function obey(id: unknown): void {
  if (id === LANE_FAULT_IDS.hang) hang();
  if (id === LANE_FAULT_IDS.hangAtNextApply) isHangingAtApply = true;
  if (id === LANE_FAULT_IDS.exit) process.exit(3);
  if (id === LANE_FAULT_IDS.leak) leakOn();
  if (id === LANE_FAULT_IDS.throwLater)
    setTimeout(() => {
      throw new Error('thrown between tasks');
    }, 0);
}

/** Reachable objects until the heap is full, with a pause after each: a leak is no silence. */
function leakOn(): void {
  leak.push(Array.from({ length: 1_000 }, (_, i) => ({ i })));
  setImmediate(leakOn);
}

function hang(): never {
  for (;;);
}
