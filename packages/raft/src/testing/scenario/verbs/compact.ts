/** `compact a n`: drops a's log up to index n; its snapshot must reach that far. */
import type { LogIndex } from '@holdfast/base';
import type { Arguments } from '../arguments.ts';
import type { World } from '../world.ts';

export function compact(world: World, args: Arguments): void {
  const replica = world.awake(args.word('a node'));
  replica.log.compact(args.countWord(0) as LogIndex);
  world.say(`${replica.id} log starts at ${replica.log.firstIndex()}`);
  world.cluster.after(replica.id);
}
