/** `transfer a b`: a is asked to give its leadership to b. */
import { nodeId } from '@holdfast/base';
import type { Arguments } from '../arguments.ts';
import type { World } from '../world.ts';

export function transfer(world: World, args: Arguments): void {
  const replica = world.awake(args.word('a node'));
  const outcome = replica.core.transfer(nodeId(args.word('a target')));
  if (!outcome.ok) world.say(`${replica.id} drops the transfer: ${outcome.drop}`);
  world.cluster.after(replica.id);
}
