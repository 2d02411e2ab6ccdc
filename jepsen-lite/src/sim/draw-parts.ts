/** What every fault draws: whom it strikes, and for how long. */
import type { SeededRandom } from '@holdfast/base';
import type { NodePick } from './plan.ts';

export const node = (random: SeededRandom): NodePick => {
  const dice = random.nextBelow(10);
  if (dice < 4) return 'leader';
  if (dice < 6) return 'follower';
  return random.nextBelow(5);
};

/** From a blink to longer than an election and a checkpoint. */
export const span = (random: SeededRandom, msMax: number): number => {
  const scale = random.nextBelow(3);
  return 10 + random.nextBelow(scale === 0 ? msMax >> 4 : scale === 1 ? msMax >> 2 : msMax);
};
