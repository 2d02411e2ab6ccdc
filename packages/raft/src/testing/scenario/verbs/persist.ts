/** `persist a [seq]`: a's disk has synced every append up to seq, by default all. */
import type { Arguments } from '../arguments.ts';
import type { World } from '../world.ts';

export function persist(world: World, args: Arguments): void {
  const { id, log } = world.awake(args.word('a node'));
  const newest = log.unsyncedSeqs().at(-1);
  if (newest === undefined) world.say(`${id} has nothing to sync`);
  else world.sync(id, args.countWord(newest));
}
