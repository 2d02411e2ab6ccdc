/** `snapshot a [keep=n]`: a snapshot of what a has applied; with keep, the log before it is cut. */
import type { Arguments } from '../arguments.ts';
import type { World } from '../world.ts';

export function snapshot(world: World, args: Arguments): void {
  const replica = world.awake(args.word('a node'));
  const keepCount = args.count('keep') ?? Number.POSITIVE_INFINITY;
  replica.checkpoint(keepCount);
  const meta = replica.log.snapshotMeta();
  args.check(meta !== null && meta.index === replica.appliedIndex, 'took no snapshot');
  world.say(`${replica.id} has a snapshot ${meta.index}/${meta.term}`);
  world.cluster.after(replica.id);
}
