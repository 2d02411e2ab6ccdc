/**
 * What recovering from a lost quorum would do, as a pure function of what the survivors hold: whom
 * to keep, what is certain, what may be lost, or why it is refused.
 *
 * A write was acknowledged when a quorum held it. Without a quorum of survivors nobody can say what
 * the dead had acknowledged among themselves, so everything after the highest index that a survivor
 * knows to be committed may be lost, or may come back as something that was never acknowledged.
 */
import type { LogIndex, Member, NodeId } from '@holdfast/base';
import { HoldfastError, logIndex, memberOf } from '@holdfast/base';
import type { Survivor } from './survivor.ts';

export interface RecoveryRequest {
  readonly survivors: readonly Survivor[];
  /** Declared dead by the operator, by name. */
  readonly dead: readonly NodeId[];
  /** Nodes of the cluster that answer on the network now. */
  readonly answering: readonly NodeId[];
}

export interface RecoveryPlan {
  /** The one whose log wins; the others join again as new incarnations. */
  readonly keeper: Survivor;
  readonly others: readonly Survivor[];
  readonly dead: readonly NodeId[];
  readonly epoch: number;
  readonly newMember: Member;
  /** Every acknowledged write up to here is kept. */
  readonly certainThrough: LogIndex;
  /** The log is kept up to here. */
  readonly keptThrough: LogIndex;
  /** Known to be lost: damaged on the keeper and not restored. Null when nothing is. */
  readonly damagedThrough: LogIndex | null;
}

/** @throws HoldfastError RECOVERY_REFUSED saying what speaks against it and what to do instead */
export function planRecovery(request: RecoveryRequest): RecoveryPlan {
  const { survivors, dead, answering } = request;
  const [first] = survivors;
  if (first === undefined) throw refuse('name the data directory of at least one survivor');
  checkSameCluster(survivors, first);
  const keeper = survivors.reduce((best, one) => (isAhead(one, best) ? one : best));
  const member = memberOf(keeper.conf, keeper.nodeId);
  if (member?.incarnation !== keeper.incarnation) {
    throw refuse(`${keeper.nodeId} is no member of the cluster it knows; name another survivor`);
  }
  checkNamed(keeper, survivors, dead);
  checkQuorum(keeper, survivors, answering, dead);
  // What a survivor knows to be committed counts as far as it can still show it: then the keeper,
  // which is at least as far, has the same entries.
  const certain = Math.max(
    ...survivors.map(({ committed, keptIndex }) => Math.min(committed, keptIndex)),
  );
  const keptThrough = keeper.keptIndex;
  return {
    keeper,
    others: survivors.filter((one) => one !== keeper),
    dead,
    epoch: Math.max(...survivors.map(({ epoch }) => epoch)) + 1,
    newMember: member,
    certainThrough: logIndex(Math.min(certain, keptThrough)),
    keptThrough,
    damagedThrough: keeper.lastIndex > keptThrough ? keeper.lastIndex : null,
  };
}

/** The order of elections: last term, then last index; then the name, so that all agree. */
function isAhead(left: Survivor, right: Survivor): boolean {
  if (left.keptTerm !== right.keptTerm) return left.keptTerm > right.keptTerm;
  if (left.keptIndex !== right.keptIndex) return left.keptIndex > right.keptIndex;
  return left.nodeId < right.nodeId;
}

function checkSameCluster(survivors: readonly Survivor[], first: Survivor): void {
  for (const { clusterId, directory, group } of survivors) {
    if (clusterId === first.clusterId && group === first.group) continue;
    throw refuse(`${directory} belongs to another cluster than ${first.directory}`);
  }
  const names = survivors.map(({ nodeId }) => nodeId);
  const repeated = names.find((name, i) => names.indexOf(name) !== i);
  if (repeated !== undefined) throw refuse(`survivor ${repeated} is named twice`);
  const epochs = new Set(survivors.map(({ epoch }) => epoch));
  if (epochs.size > 1) {
    throw refuse('the survivors are of different epochs; name only those of the newest one');
  }
}

function checkNamed(
  keeper: Survivor,
  survivors: readonly Survivor[],
  dead: readonly NodeId[],
): void {
  const alive = new Set(survivors.map(({ nodeId }) => nodeId));
  const members = keeper.conf.members.map(({ nodeId }) => nodeId);
  const both = dead.find((name) => alive.has(name));
  if (both !== undefined) throw refuse(`${both} is named as survivor and as dead`);
  const stranger = dead.find((name) => !members.includes(name));
  if (stranger !== undefined) {
    throw refuse(`${stranger} is no member; the members are ${members.join(', ')}`);
  }
  const unnamed = members.filter((name) => !alive.has(name) && !dead.includes(name));
  if (unnamed.length === 0) return;
  throw refuse(
    `${unnamed.join(', ')}: neither given as survivor nor declared dead; pass the data directory ` +
      'with --survivor, or, when the node is gone for good, its name with --dead',
  );
}

function checkQuorum(
  keeper: Survivor,
  survivors: readonly Survivor[],
  answering: readonly NodeId[],
  dead: readonly NodeId[],
): void {
  const undead = dead.filter((name) => answering.includes(name));
  if (undead.length > 0) {
    throw refuse(`${undead.join(', ')} was declared dead and answers; stop it first, or keep it`);
  }
  const { voters, votersOutgoing } = keeper.conf;
  for (const half of [voters, votersOutgoing]) {
    if (half.length === 0) continue;
    const needed = Math.floor(half.length / 2) + 1;
    const here = half.filter((name) => answering.includes(name));
    if (here.length >= needed) {
      throw refuse(`a quorum answers (${here.join(', ')}): nothing is lost, start the others`);
    }
  }
  const isIntact = survivors.every(({ keptIndex, lastIndex }) => keptIndex === lastIndex);
  const names = new Set(survivors.map(({ nodeId }) => nodeId));
  const isQuorum = (half: readonly NodeId[]): boolean =>
    half.filter((name) => names.has(name)).length >= Math.floor(half.length / 2) + 1;
  const hasQuorum = isQuorum(voters) && (votersOutgoing.length === 0 || isQuorum(votersOutgoing));
  if (!isIntact || !hasQuorum) return;
  throw refuse('the survivors are a quorum: nothing is lost, start them');
}

const refuse = (message: string): HoldfastError =>
  new HoldfastError('RECOVERY_REFUSED', `cluster recover: ${message}`);
