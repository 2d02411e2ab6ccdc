/** `campaign a`: a starts an election now. */
import type { Arguments } from '../arguments.ts';
import type { World } from '../world.ts';

export function campaign(world: World, args: Arguments): void {
  const replica = world.awake(args.word('a node'));
  replica.core.campaign();
  world.cluster.after(replica.id);
}
