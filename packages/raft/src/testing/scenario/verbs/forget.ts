/** `forget a`: a forgets its leader. */
import type { Arguments } from '../arguments.ts';
import type { World } from '../world.ts';

export function forget(world: World, args: Arguments): void {
  const replica = world.awake(args.word('a node'));
  replica.core.forgetLeader();
  world.cluster.after(replica.id);
}
