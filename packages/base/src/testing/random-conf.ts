/** A consistent configuration drawn from `random`: for round-trip and fuzz tests. */
import type { ConfState, Member } from '../conf.ts';
import { makeConf } from '../conf.ts';
import { incarnation, nodeId } from '../ids.ts';
import type { Random } from '../random.ts';

export function randomConf(random: Random): ConfState {
  const members = Array.from({ length: 1 + random.nextBelow(6) }, (_, i) =>
    randomMember(random, `n${i + 1}`),
  );
  const ids = members.map((member) => member.nodeId);
  const learners = ids.slice(1).filter(() => random.nextBelow(3) === 0);
  const conf = makeConf(members, learners);
  const voters = conf.voters.filter((_id, i) => i === 0 || random.nextBelow(3) > 0);
  const isJoint = voters.length < conf.voters.length;
  return {
    ...conf,
    voters,
    votersOutgoing: isJoint ? conf.voters : [],
    learnersNext: isJoint ? conf.voters.filter((id) => !voters.includes(id)) : [],
    autoLeave: isJoint && random.nextBelow(2) === 0,
    promotions: conf.learners.map((id) => ({
      nodeId: id,
      replaces: random.nextBelow(2) === 0 ? null : conf.voters[0]!,
    })),
    isLeaseEnabled: random.nextBelow(2) === 0,
  };
}

function randomMember(random: Random, name: string): Member {
  const hex = Array.from({ length: 4 }, () => random.nextU32().toString(16).padStart(8, '0'));
  return {
    nodeId: nodeId(name),
    incarnation: incarnation(hex.join('')),
    address: `${name}.example:${random.nextBelow(65_536)}`,
    clientAddress: random.nextBelow(2) === 0 ? null : `${name}:1`,
  };
}
