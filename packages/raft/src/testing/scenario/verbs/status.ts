/** `status [a b]`: how the nodes stand, by default all of them. */
import type { Arguments } from '../arguments.ts';
import { describeStatus } from '../describe.ts';
import type { World } from '../world.ts';

export function status(world: World, args: Arguments): void {
  const names = args.words();
  const ids = names.length === 0 ? world.cluster.ids : names.map((name) => world.id(name));
  for (const id of ids) {
    if (!world.cluster.isUp(id)) {
      world.say(`${id} is down`);
      continue;
    }
    const { core, log } = world.cluster.replica(id);
    const now = core.status();
    for (const line of describeStatus(now, log.term(now.lastIndex))) world.say(line);
  }
}
