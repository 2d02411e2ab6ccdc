/**
 * `deliver [from=a] [to=b] [type=append,heartbeat] [count=n] [reverse] [dup]`: delivers what is on
 * its way and matches. `reverse` delivers the newest first, `dup` leaves a copy on its way.
 */
import type { Arguments } from '../arguments.ts';
import { takeMatching } from '../selection.ts';
import type { World } from '../world.ts';

export function deliver(world: World, args: Arguments): void {
  const isReversed = args.flag('reverse');
  const isKept = args.flag('dup');
  const taken = takeMatching(world, args, { isReversed });
  if (isKept) world.cluster.network.push(...taken);
  for (const message of taken) world.deliver(message, world.describe(message));
}
