/** `resume a`: the process goes on; what was sent to it meanwhile is still on its way. */
import type { Arguments } from '../arguments.ts';
import type { World } from '../world.ts';

export function resume(world: World, args: Arguments): void {
  const id = world.id(args.word('a node'));
  args.check(world.paused.delete(id), `${id} is not paused`);
}
