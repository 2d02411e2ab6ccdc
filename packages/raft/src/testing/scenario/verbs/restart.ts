/** `restart a`: a new process on what the crash left. */
import type { Arguments } from '../arguments.ts';
import type { World } from '../world.ts';

export function restart(world: World, args: Arguments): void {
  const id = world.id(args.word('a node'));
  args.check(!world.cluster.isUp(id), `${id} is running`);
  world.cluster.restart(id);
}
