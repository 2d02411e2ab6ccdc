/**
 * `tick a [n]` or `tick all [n]`: n ticks of 20 ms; paused and crashed nodes see none. With
 * `ms=n` the clock is n ms on: late ticks.
 */
import type { Arguments } from '../arguments.ts';
import type { World } from '../world.ts';

export function tick(world: World, args: Arguments): void {
  const name = args.word('a node or all');
  const lateMs = args.count('ms');
  const count = args.countWord(1);
  for (let i = 0; i < count; i++) {
    const ids = name === 'all' ? world.awakeIds : [world.awake(name).id];
    for (const id of ids)
      if (lateMs === null) world.cluster.tick(id);
      else world.cluster.tickAt(id, world.cluster.clockMs(id) + lateMs);
  }
}
