/**
 * `change a learner:d voter:e promote:d demote:b remove:c leases:on [joint]`: a proposes one change
 * of these steps; without steps it leaves a joint configuration. `learner:d+` is promoted by itself
 * once it has caught up, `learner:d>b` replaces b then. `joint` stays joint until left.
 */
import { nodeId } from '@holdfast/base';
import type { ConfChangeStep } from '../../../membership/change.ts';
import type { Arguments } from '../arguments.ts';
import type { World } from '../world.ts';

export function change(world: World, args: Arguments): void {
  const replica = world.awake(args.word('a node'));
  const transition = args.flag('joint') ? 'joint' : 'auto';
  const steps = args.words().map((word) => stepOf(world, args, word));
  const outcome = replica.core.proposeConf({ steps, transition });
  if (!outcome.ok) {
    const why = outcome.reason === '' ? '' : ` (${outcome.reason})`;
    world.say(`${replica.id} drops the change: ${outcome.drop}${why}`);
  }
  world.cluster.after(replica.id);
}

function stepOf(world: World, args: Arguments, word: string): ConfChangeStep {
  const [kind, target = ''] = word.split(':');
  switch (kind) {
    case 'learner':
      return learnerOf(world, target);
    case 'voter':
      return { kind: 'addVoter', member: world.cluster.member(world.id(target)) };
    case 'promote':
    case 'demote':
    case 'remove':
      return { kind, nodeId: nodeId(target) };
    case 'leases':
      return { kind: 'setLeases', isEnabled: target === 'on' };
    default:
      args.check(false, `does not know the step ${word}`);
  }
}

function learnerOf(world: World, target: string): ConfChangeStep {
  const [name = '', replaced] = target.replace('+', '').split('>');
  const member = world.cluster.member(world.id(name));
  if (replaced !== undefined)
    return { kind: 'addLearner', member, promotion: { replaces: world.id(replaced) } };
  return {
    kind: 'addLearner',
    member,
    promotion: target.endsWith('+') ? { replaces: null } : null,
  };
}
