/** How members are shown: a table for a person, one line of progress for one that catches up. */
import type { ListMembersResult, MemberInfo } from '@holdfast/protocol';
import { type Column, renderTable } from './table.ts';

const COLUMNS: readonly Column[] = [
  { title: 'NODE' },
  { title: 'ROLE' },
  { title: 'CLIENTS' },
  { title: 'PEERS' },
  { title: 'MATCH', align: 'right' },
  { title: 'LAG', align: 'right' },
  { title: 'STATE' },
];

export function renderMembers(list: ListMembersResult): readonly string[] {
  const rows = [
    ...list.members.map((member) => memberRow(member, list.lastIndex)),
    ...list.joining.map(({ nodeId, clientAddress, address }) => [
      ...[nodeId, 'joining', clientAddress ?? '', address, '', ''],
      `waits to be added: holdfast member add ${nodeId}`,
    ]),
  ];
  return [...renderTable(COLUMNS, rows), '', summary(list)];
}

function memberRow(member: MemberInfo, lastIndex: number): readonly string[] {
  const { nodeId, role, isLeader, clientAddress, address, progress } = member;
  return [
    nodeId,
    isLeader ? 'leader' : role,
    clientAddress ?? '',
    address,
    String(progress?.matchIndex ?? lastIndex),
    String(progress?.lagEntries ?? 0),
    stateOf(member),
  ];
}

function stateOf({ isLeader, progress, isToBePromoted, replaces }: MemberInfo): string {
  if (isLeader || progress === null) return 'ok';
  const activity = progress.isRecentlyActive ? 'ok' : 'silent';
  if (!isToBePromoted) return activity;
  const aim = replaces === null ? 'becomes a voter' : `takes the place of ${replaces}`;
  const wait = progress.blockedBy === null ? '' : `; waits: ${progress.blockedBy}`;
  return `${activity}; ${aim}, round ${progress.round ?? 0}${wait}`;
}

function summary(list: ListMembersResult): string {
  const { confIndex, isPending, isJoint, isLeaseEnabled, term } = list;
  const state = isJoint
    ? 'between two configurations'
    : isPending
      ? 'being committed'
      : 'committed';
  const leases = isLeaseEnabled ? 'on' : 'off';
  return `configuration ${confIndex} (${state}), term ${term}, lease reads ${leases}`;
}

const BAR_WIDTH = 24;

/** One line, for example `n4 learner [######------------------]  25 % 12,000 behind, round 2`. */
export function progressLine(member: MemberInfo, lastIndex: number): string {
  const { nodeId, role, progress } = member;
  const matchIndex = progress?.matchIndex ?? lastIndex;
  // The bar is of the way to the vote: who has it may be some entries behind again.
  const isThere = role === 'voter' || lastIndex === 0;
  const ratio = isThere ? 1 : matchIndex / lastIndex;
  const filled = Math.floor(ratio * BAR_WIDTH);
  const bar = '#'.repeat(filled).padEnd(BAR_WIDTH, '-');
  const percent = String(Math.floor(ratio * 100)).padStart(3);
  return `${nodeId} ${role} [${bar}] ${percent} % ${describeLag(member)}`;
}

function describeLag({ role, progress }: MemberInfo): string {
  if (role === 'voter' || progress === null) return 'has its vote';
  if (!progress.isRecentlyActive) return 'does not answer';
  const lag =
    progress.matchIndex === 0
      ? 'waiting for its first entries'
      : `${progress.lagEntries.toLocaleString('en')} entries behind`;
  const round = progress.round === null ? '' : `, round ${progress.round}`;
  return `${lag}${round}${progress.blockedBy === null ? '' : `; ${progress.blockedBy}`}`;
}
