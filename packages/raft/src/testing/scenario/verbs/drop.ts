/** `drop [from=a] [to=b] [type=...] [count=n] [reverse]`: what matches is lost. */
import type { Arguments } from '../arguments.ts';
import { takeMatching } from '../selection.ts';
import type { World } from '../world.ts';

export function drop(world: World, args: Arguments): void {
  const isReversed = args.flag('reverse');
  for (const message of takeMatching(world, args, { isReversed }))
    world.say(`${message.from} -x ${message.to}: ${world.describe(message)}`);
}
