/** `elect a`: a campaigns, wins and everything settles; only the outcome is in the trace. */
import type { Arguments } from '../arguments.ts';
import type { World } from '../world.ts';

export function elect(world: World, args: Arguments): void {
  const { id } = world.awake(args.word('a node'));
  const before = world.takeLines();
  world.cluster.elect(id);
  world.takeLines();
  for (const line of before) world.say(line);
  world.say(`${id} was elected t${world.cluster.replica(id).core.status().term}`);
}
