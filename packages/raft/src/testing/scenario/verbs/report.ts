/**
 * `report a unreachable b`: a's host cannot send to b. `report a sent b` and `report a failed b`:
 * the transfer of the snapshot that a offered to b ended so.
 */
import { must } from '@holdfast/base';
import type { Arguments } from '../arguments.ts';
import type { World } from '../world.ts';

export function report(world: World, args: Arguments): void {
  const replica = world.awake(args.word('a node'));
  const what = args.word('unreachable, sent or failed');
  const peer = world.id(args.word('a peer'));
  if (what === 'unreachable') replica.core.reportUnreachable(peer);
  else {
    args.check(what === 'sent' || what === 'failed', `does not know ${what}`);
    const meta = must(replica.log.snapshotMeta(), 'there is no snapshot to report on');
    replica.core.reportSnapshot(peer, meta.id, what === 'sent');
  }
  world.cluster.after(replica.id);
}
