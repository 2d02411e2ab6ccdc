/** `settle`: syncs, applies and delivers until nothing moves any more. Nothing ticks. */
import type { World } from '../world.ts';

export function settle(world: World): void {
  world.settle();
}
