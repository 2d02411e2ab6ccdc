/**
 * `crash a`: power is cut, everything not synced is gone. `crash a kill`: only the process ends,
 * the operating system still writes what it was given.
 */
import type { Arguments } from '../arguments.ts';
import type { World } from '../world.ts';

export function crash(world: World, args: Arguments): void {
  const isKill = args.flag('kill');
  const id = world.id(args.word('a node'));
  args.check(world.cluster.isUp(id), `${id} is down already`);
  const { log } = world.cluster.replica(id);
  const newest = log.unsyncedSeqs().at(-1);
  if (isKill && newest !== undefined) log.sync(newest);
  world.paused.delete(id);
  world.stalled.delete(id);
  world.cluster.crash(id);
}
