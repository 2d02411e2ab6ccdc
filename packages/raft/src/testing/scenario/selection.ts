/** Picks messages on their way: by sender, receiver, kind and number. */
import type { RaftMessage } from '../../messages.ts';
import type { Arguments } from './arguments.ts';
import type { World } from './world.ts';

/** Removes what matches from the network; the trace says when nothing does. */
export function takeMatching(
  world: World,
  args: Arguments,
  { isReversed }: { readonly isReversed: boolean },
): readonly RaftMessage[] {
  const from = args.list('from')?.map((name) => world.id(name)) ?? null;
  const to = args.list('to')?.map((name) => world.id(name)) ?? null;
  const kinds = args.list('type');
  const countMax = args.count('count') ?? Number.POSITIVE_INFINITY;
  const isWanted = (message: RaftMessage): boolean =>
    (from?.includes(message.from) ?? true) &&
    (to?.includes(message.to) ?? true) &&
    (kinds?.includes(message.kind) ?? true) &&
    !world.paused.has(message.to);
  const matching = world.cluster.network.filter(isWanted);
  if (isReversed) matching.reverse();
  const taken = matching.slice(0, countMax);
  if (taken.length === 0) world.say('nothing on its way matches');
  world.cluster.network = world.cluster.network.filter((message) => !taken.includes(message));
  return taken;
}
