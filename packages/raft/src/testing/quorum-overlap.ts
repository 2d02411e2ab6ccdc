/**
 * The one property all membership changes rest on, by brute force: any quorum of one configuration
 * has a member in common with any quorum of the other. A wiped node is another member.
 */
import type { ConfState, NodeId } from '@holdfast/base';
import { must } from '@holdfast/base';

type Life = string;

interface Halves {
  readonly incoming: readonly Life[];
  readonly outgoing: readonly Life[];
}

export function doQuorumsOverlap(left: ConfState, right: ConfState): boolean {
  const ours = halvesOf(left);
  const theirs = halvesOf(right);
  const lives = [
    ...new Set([...ours.incoming, ...ours.outgoing, ...theirs.incoming, ...theirs.outgoing]),
  ];
  // If some set and its complement both decide, they do so without each other.
  for (let subset = 0; subset < 2 ** lives.length; subset++) {
    const isIn = (life: Life): boolean => Math.floor(subset / 2 ** lives.indexOf(life)) % 2 === 1;
    if (decides(ours, isIn) && decides(theirs, (life) => !isIn(life))) return false;
  }
  return true;
}

function halvesOf(conf: ConfState): Halves {
  const lifeOf = (id: NodeId): Life => {
    const member = must(conf.members.find(({ nodeId }) => nodeId === id));
    return `${id}@${member.incarnation}`;
  };
  return { incoming: conf.voters.map(lifeOf), outgoing: conf.votersOutgoing.map(lifeOf) };
}

function decides({ incoming, outgoing }: Halves, isIn: (life: Life) => boolean): boolean {
  const hasMajority = (half: readonly Life[]): boolean =>
    half.length === 0 || 2 * half.filter(isIn).length > half.length;
  return incoming.length > 0 && hasMajority(incoming) && hasMajority(outgoing);
}
