/** Builds what a replica has to do with being a member among others. */
import type { RaftCore } from '@holdfast/raft';
import { Readmission } from '../recovery/readmission.ts';
import { ClockWatch } from './clock-watch.ts';
import { FastFailover } from './fast-failover.ts';
import { JoinAnnouncer } from './join-announcer.ts';
import { Membership } from './membership.ts';
import type { ReplicaOptions, ReplicaParts } from './replica-parts.ts';

export interface MemberParts {
  readonly options: ReplicaOptions;
  readonly parts: ReplicaParts;
  /** Runs a call into the core in a turn of the driver. */
  readonly withCore: (action: (core: RaftCore) => void) => void;
  /** Rejects NOT_LEADER, NO_LEADER. */
  readonly whenLeaderReady: (deadlineMs: number) => Promise<void>;
  readonly isLeader: () => boolean;
}

export function makeMembership(given: MemberParts): Membership {
  const { options, parts, withCore, whenLeaderReady } = given;
  const { core, publicAddressOf, transport, wal } = parts;
  const { clusterId, epoch, group, incarnation, nodeId } = options;
  return new Membership({
    ...{ clusterId, epoch, nodeId, incarnation, core, transport, publicAddressOf },
    withCore,
    whenLeaderReady,
    termAt: (index) => {
      const term = wal.groupLog(group).term(index);
      return typeof term === 'number' ? term : 0;
    },
  });
}

export function makeAnnouncer(given: MemberParts, membership: Membership): JoinAnnouncer {
  const { transport, timers, logger } = given.parts;
  return new JoinAnnouncer({
    ...{ transport, timers, logger, addresses: given.options.joinAddresses },
    isJoining: () => membership.isJoining,
  });
}

export function makeReadmission(given: MemberParts, membership: Membership): Readmission {
  const { transport, logger } = given.parts;
  return new Readmission({ membership, transport, logger, isLeader: given.isLeader });
}

export function makeClockWatch(given: MemberParts, membership: Membership): ClockWatch {
  const { core, logger, transport } = given.parts;
  return new ClockWatch({
    logger,
    view: () => ({
      voters: membership.conf.voters,
      self: given.options.nodeId,
      offsetsMs: transport.clockOffsetsMs(),
    }),
    isLeader: given.isLeader,
    successors: () => core.transferTargets(),
    handOver: (to) => given.withCore((c) => c.transfer(to)),
  });
}

export function makeFailover(given: MemberParts, clockWatch: ClockWatch): FastFailover {
  const { timers, random } = given.parts;
  const { nodeId, electionTimeoutMs } = given.options;
  return new FastFailover({
    ...{ nodeId, timers, random, electionTimeoutMs, withCore: given.withCore },
    isHurried: () => !clockWatch.isWrong,
  });
}
