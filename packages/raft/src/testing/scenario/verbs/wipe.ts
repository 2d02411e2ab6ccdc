/** `wipe b`: b loses its disk and starts with an empty one, as another incarnation. */
import type { Arguments } from '../arguments.ts';
import type { World } from '../world.ts';

export function wipe(world: World, args: Arguments): void {
  const id = world.id(args.word('a node'));
  world.paused.delete(id);
  world.cluster.wipe(id);
}
