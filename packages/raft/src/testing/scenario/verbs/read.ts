/** `read a`: asks a for an index to read at. */
import type { Arguments } from '../arguments.ts';
import type { World } from '../world.ts';

export function read(world: World, args: Arguments): void {
  const replica = world.awake(args.word('a node'));
  const outcome = replica.core.readIndex();
  if (outcome.ok) {
    world.cluster.checker.readAsked(replica, outcome.requestId);
    world.say(`${replica.id} read ${outcome.requestId} asked`);
  } else world.say(`${replica.id} drops the read: ${outcome.drop}`);
  world.cluster.after(replica.id);
}
