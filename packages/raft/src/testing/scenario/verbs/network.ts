/** `network`: what is on its way, oldest first. */
import type { Arguments } from '../arguments.ts';
import { describeLink } from '../describe.ts';
import type { World } from '../world.ts';

export function network(world: World, _args: Arguments): void {
  for (const message of world.cluster.network)
    world.say(`${describeLink(message.from, message.to)}: ${world.describe(message)}`);
}
