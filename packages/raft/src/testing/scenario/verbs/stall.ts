/** `stall a [off]`: `settle` no longer syncs a's disk, or does so again. */
import type { Arguments } from '../arguments.ts';
import type { World } from '../world.ts';

export function stall(world: World, args: Arguments): void {
  const { id } = world.awake(args.word('a node'));
  if (args.flag('off')) world.stalled.delete(id);
  else world.stalled.add(id);
}
