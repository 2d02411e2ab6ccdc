/** `heal`: every link works again; what was lost stays lost. */
import type { World } from '../world.ts';

export function heal(world: World): void {
  world.cluster.heal();
}
