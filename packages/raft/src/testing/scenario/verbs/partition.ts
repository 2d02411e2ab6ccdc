/** `partition a,b c`: groups that cannot reach each other. `partition a>b`: only that direction. */
import type { Arguments } from '../arguments.ts';
import type { World } from '../world.ts';

export function partition(world: World, args: Arguments): void {
  const words = args.words();
  args.check(words.length > 0, 'needs groups, or links like a>b');
  const links = words.filter((word) => word.includes('>'));
  for (const link of links) {
    const [from, to] = link.split('>');
    world.cluster.cut(world.id(from ?? ''), world.id(to ?? ''));
  }
  const groups = words
    .filter((word) => !word.includes('>'))
    .map((word) => word.split(',').map((name) => world.id(name)));
  args.check(groups.length !== 1, 'one group alone is no partition');
  for (const group of groups)
    for (const other of groups)
      if (group !== other)
        for (const from of group) for (const to of other) world.cluster.cut(from, to);
}
