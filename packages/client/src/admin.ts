/**
 * Who belongs to the cluster, and changes of it. Every change is answered when it is committed, and
 * a change that is there already is answered as done: so each is repeated until it is answered.
 */
import type {
  ChangeMembersResult,
  ListMembersResult,
  OutgoingRequest,
  RequestKind,
  TransferLeadershipResult,
} from '@holdfast/protocol';
import { checkUp } from '@holdfast/protocol';
import type { Run } from './collection.ts';
import type { RequestOptions } from './options.ts';

export interface AddMemberOptions extends RequestOptions {
  /** Name of a node that was started to join. */
  readonly nodeId: string;
  /** Where the other nodes reach it, host:port; without it where it says itself. */
  readonly address?: string;
  /** True: it stays a learner, without a vote. */
  readonly isLearner?: boolean;
}

export interface ReplaceMemberOptions extends RequestOptions {
  /** The voter that leaves. */
  readonly nodeId: string;
  /** The node that takes its place. */
  readonly by: string;
  /** Of the node that takes its place. */
  readonly address?: string;
}

export interface UpdateMemberOptions extends RequestOptions {
  readonly nodeId: string;
  readonly address?: string;
  readonly clientAddress?: string;
}

type AdminRequest = Extract<
  OutgoingRequest,
  {
    kind:
      | 'listMembers'
      | 'addMember'
      | 'removeMember'
      | 'replaceMember'
      | 'promoteMember'
      | 'demoteMember'
      | 'updateMember'
      | 'setLeases'
      | 'transferLeadership';
  }
>;
type AdminKind = AdminRequest['kind'];
type FieldsOf<Kind extends AdminKind> = Omit<
  Extract<AdminRequest, { kind: Kind }>,
  'id' | 'kind' | 'timeoutMs'
>;

export class Admin {
  readonly #run: Run;

  constructor(run: Run) {
    this.#run = run;
  }

  /** The members as the leader sees them, with the progress of those that catch up. */
  members(options: RequestOptions = {}): Promise<ListMembersResult> {
    return this.#ask('listMembers', {}, options);
  }

  /**
   * Adds a node that was started to join. It becomes a voter by itself once it has caught up,
   * unless it is to stay a learner; `members` shows how far it is.
   * @throws HoldfastError MEMBER_UNKNOWN, MEMBER_UNREACHABLE, MEMBER_EXISTS, MEMBERSHIP_INVALID
   */
  addMember(options: AddMemberOptions): Promise<ChangeMembersResult> {
    return this.#ask('addMember', ...split(options));
  }

  /**
   * Removes this life of the node: one that joins again meanwhile stays. The leader may be removed.
   * @throws HoldfastError MEMBER_UNKNOWN, QUORUM_AT_RISK, MEMBERSHIP_INVALID
   */
  async removeMember(nodeId: string, options: RequestOptions = {}): Promise<ChangeMembersResult> {
    const { members } = await this.members(options);
    const incarnation = members.find((member) => member.nodeId === nodeId)?.incarnation;
    const life = incarnation === undefined ? {} : { incarnation };
    return this.#ask('removeMember', { nodeId, ...life }, options);
  }

  /**
   * The new node catches up first; then it becomes a voter and the old one leaves in one step.
   * @throws HoldfastError MEMBER_UNKNOWN, MEMBER_UNREACHABLE, MEMBERSHIP_INVALID
   */
  replaceMember(options: ReplaceMemberOptions): Promise<ChangeMembersResult> {
    return this.#ask('replaceMember', ...split(options));
  }

  /** @throws HoldfastError MEMBER_UNKNOWN, MEMBER_BEHIND */
  promoteMember(nodeId: string, options: RequestOptions = {}): Promise<ChangeMembersResult> {
    return this.#ask('promoteMember', { nodeId }, options);
  }

  /** @throws HoldfastError MEMBER_UNKNOWN, QUORUM_AT_RISK, MEMBERSHIP_INVALID */
  demoteMember(nodeId: string, options: RequestOptions = {}): Promise<ChangeMembersResult> {
    return this.#ask('demoteMember', { nodeId }, options);
  }

  /** @throws HoldfastError MEMBER_UNKNOWN, MEMBERSHIP_INVALID */
  updateMember(options: UpdateMemberOptions): Promise<ChangeMembersResult> {
    return this.#ask('updateMember', ...split(options));
  }

  /** Switches lease reads on or off for the whole cluster. */
  setLeases(isEnabled: boolean, options: RequestOptions = {}): Promise<ChangeMembersResult> {
    return this.#ask('setLeases', { isEnabled }, options);
  }

  /**
   * Hands the leadership to the voter `to`; without it to the one that is the most up to date.
   * @throws HoldfastError MEMBER_UNKNOWN, MEMBERSHIP_INVALID, TRANSFER_FAILED
   */
  transferLeadership(to?: string, options: RequestOptions = {}): Promise<TransferLeadershipResult> {
    return this.#ask('transferLeadership', to === undefined ? {} : { to }, options);
  }

  #ask<Kind extends AdminKind & RequestKind>(
    kind: Kind,
    fields: FieldsOf<Kind>,
    options: RequestOptions,
  ) {
    checkUp({ id: 0, kind, ...fields });
    const message = (_stamp: unknown, timeoutMs: number) => ({ kind, ...fields, timeoutMs });
    return this.#run(
      // Repeating it has no second effect, so it needs no session.
      { kind, target: { kind: 'leader' }, isWrite: false, message: message as never },
      options,
    );
  }
}

function split<Options extends RequestOptions>(
  options: Options,
): [Omit<Options, 'timeoutMs' | 'signal'>, RequestOptions] {
  const { timeoutMs, signal, ...fields } = options;
  return [
    fields,
    {
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
      ...(signal === undefined ? {} : { signal }),
    },
  ];
}
