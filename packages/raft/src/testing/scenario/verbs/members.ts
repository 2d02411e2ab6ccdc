/** `members [a b]`: the configuration each node goes by, and the index that made it. */
import type { Arguments } from '../arguments.ts';
import { describeConf } from '../describe.ts';
import type { World } from '../world.ts';

export function members(world: World, args: Arguments): void {
  const names = args.words();
  const ids = names.length === 0 ? world.cluster.up : names.map((name) => world.id(name));
  for (const id of ids) {
    const { conf, confIndex } = world.cluster.replica(id).core.status();
    world.say(`${id} by ${confIndex}: ${describeConf(conf)}`);
  }
}
