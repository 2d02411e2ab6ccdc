/** `log [a b]`: the entries each node holds, and how far they are synced. */
import type { Arguments } from '../arguments.ts';
import { describeEntries } from '../describe.ts';
import type { World } from '../world.ts';

export function log(world: World, args: Arguments): void {
  const names = args.words();
  const ids = names.length === 0 ? world.cluster.ids : names.map((name) => world.id(name));
  for (const id of ids) {
    const held = world.cluster.replica(id).log;
    const first = held.firstIndex();
    const high = held.lastIndex() + 1;
    const entries = held.entries(first, high as typeof first, Number.POSITIVE_INFINITY);
    const text = typeof entries === 'string' ? entries : describeEntries(entries);
    const after =
      first === 1 ? '' : `after ${first - 1}/${held.term((first - 1) as typeof first)} `;
    world.say(`${id} ${after}${text} synced=${held.syncedLastIndex()}`);
  }
}
