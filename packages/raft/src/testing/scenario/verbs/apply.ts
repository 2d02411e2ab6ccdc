/** `apply a [batches]`: a's state machine works off its oldest batches, by default all. */
import type { Arguments } from '../arguments.ts';
import type { World } from '../world.ts';

export function apply(world: World, args: Arguments): void {
  const replica = world.awake(args.word('a node'));
  if (replica.pendingApplyCount === 0) world.say(`${replica.id} has nothing to apply`);
  const count = args.countWord(Number.POSITIVE_INFINITY);
  for (let i = 0; i < count && replica.pendingApplyCount > 0; i++) {
    replica.applyNext();
    world.cluster.after(replica.id);
  }
}
