/**
 * A checkpoint in a joint configuration, the rarest of all in plans drawn from loose faults: it
 * takes a joint change, and a checkpoint in the few milliseconds until it is left again. One seed
 * in JOINT_SEED_ONE_IN has both in the right order. From numbers of its own, so that what is drawn
 * here changes nothing else of a seed.
 */
import { deriveSeed, SeededRandom } from '@holdfast/base';
import type { TimedFault } from './plan.ts';

const JOINT_SEED_ONE_IN = 3;

/** Changes per such seed: one that finds no leader, or no node to spare, changes nothing. */
const CHANGE_COUNT = 3;

export function drawJointCheckpoint(seed: number, durationMs: number): readonly TimedFault[] {
  const random = new SeededRandom(deriveSeed(seed, 'joint-checkpoint'));
  if (random.nextBelow(JOINT_SEED_ONE_IN) > 0) return [];
  const times = Array.from({ length: CHANGE_COUNT }, () => random.nextBelow(durationMs));
  return times.flatMap((atMs): TimedFault[] => [
    {
      atMs,
      fault: {
        kind: 'confTrap',
        when: 'joint',
        action: 'checkpoint',
        forMs: 0,
        salt: random.nextU32(),
      },
    },
    {
      atMs,
      fault: { kind: 'swapMembers', node: 'follower', otherOffset: 1 + random.nextBelow(4) },
    },
  ]);
}
