/** `pause a`: the process is stopped; it ticks, receives, syncs and sends nothing. */
import type { Arguments } from '../arguments.ts';
import type { World } from '../world.ts';

export function pause(world: World, args: Arguments): void {
  world.paused.add(world.awake(args.word('a node')).id);
}
