/** `propose a x y [bytes=200]`: one call with an entry per word, each filled up to `bytes`. */

import { payload } from '../../core-cluster.ts';
import type { Arguments } from '../arguments.ts';
import type { World } from '../world.ts';

export function propose(world: World, args: Arguments): void {
  const replica = world.awake(args.word('a node'));
  const sizeBytes = args.count('bytes') ?? 0;
  const texts = args.words();
  args.check(texts.length > 0, 'needs something to propose');
  const outcome = replica.core.propose(texts.map((text) => payload(text.padEnd(sizeBytes, '.'))));
  if (!outcome.ok) world.say(`${replica.id} drops the proposal: ${outcome.drop}`);
  world.cluster.after(replica.id);
}
