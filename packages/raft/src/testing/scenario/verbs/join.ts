/** `join d`: starts a node with an empty disk that no configuration names yet. */
import type { Arguments } from '../arguments.ts';
import type { World } from '../world.ts';

export function join(world: World, args: Arguments): void {
  world.cluster.join(args.word('a name'));
}
