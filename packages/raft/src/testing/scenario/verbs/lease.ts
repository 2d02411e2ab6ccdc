/** `lease a [late=ms]`: a is asked for a read by lease, this long after its last tick. */
import type { Arguments } from '../arguments.ts';
import type { World } from '../world.ts';

export function lease(world: World, args: Arguments): void {
  const replica = world.awake(args.word('a node'));
  const nowMs = world.cluster.clockMs(replica.id) + (args.count('late') ?? 0);
  const outcome = replica.core.leaseRead(nowMs);
  if (outcome.ok) {
    world.cluster.checker.leaseReadServed(outcome.index);
    world.say(`${replica.id} reads by lease at ${outcome.index}`);
  } else world.say(`${replica.id} drops the lease read: ${outcome.drop}`);
  world.cluster.after(replica.id);
}
