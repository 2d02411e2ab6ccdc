/**
 * Before a node is added the leader makes sure of it: it answers at its address, knows the cluster
 * secret, belongs to this cluster and is the node it should be. A newcomer nobody can reach would
 * hold the next change up.
 */
import type { ClusterId, Member, NodeId } from '@holdfast/base';
import { HoldfastError, incarnation, toHoldfastError } from '@holdfast/base';
import type { InquiryAnswer, PeerTransport } from '../service-api.ts';
import { unknownMember } from './member-plan.ts';

export interface Newcomer {
  readonly clusterId: ClusterId;
  readonly epoch: number;
  readonly nodeId: NodeId;
  /** As the operator gave it; undefined: as the node announced it. */
  readonly address: string | undefined;
}

/** @throws HoldfastError MEMBER_UNKNOWN, MEMBER_UNREACHABLE */
export async function verifyNewcomer(
  transport: Pick<PeerTransport, 'guests' | 'inquire'>,
  { clusterId, epoch, nodeId, address: given }: Newcomer,
): Promise<Member> {
  const guest = transport.guests().find((each) => each.nodeId === nodeId);
  const address = given ?? guest?.address;
  if (address === undefined) throw unknownMember(nodeId);
  const { identity } = await inquire(transport, nodeId, address);
  if (identity.nodeId !== nodeId) {
    throw unreachable(nodeId, address, `it is ${identity.nodeId} that answers there`);
  }
  if (identity.clusterId !== clusterId) {
    throw unreachable(nodeId, address, `it belongs to cluster ${identity.clusterId}`);
  }
  if (identity.epoch !== epoch) {
    const why = `it is of epoch ${identity.epoch}, the cluster of epoch ${epoch}; empty it first`;
    throw unreachable(nodeId, address, why);
  }
  return {
    nodeId,
    incarnation: incarnation(identity.incarnation),
    address,
    clientAddress: identity.publicAddress === '' ? null : identity.publicAddress,
  };
}

async function inquire(
  transport: Pick<PeerTransport, 'inquire'>,
  nodeId: NodeId,
  address: string,
): Promise<InquiryAnswer> {
  try {
    return await transport.inquire(address);
  } catch (thrown) {
    throw unreachable(nodeId, address, toHoldfastError(thrown).message, thrown);
  }
}

function unreachable(nodeId: NodeId, address: string, why: string, cause?: unknown): HoldfastError {
  return new HoldfastError('MEMBER_UNREACHABLE', `${nodeId} at ${address}: ${why}`, {
    cause,
    details: { nodeId, address },
  });
}
