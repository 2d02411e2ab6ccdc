/**
 * Is the other side of a handshake who it should be? Asked by both sides, always after the proof: a
 * stranger learns nothing from the answer.
 */
import { timingSafeEqual } from 'node:crypto';
import { HoldfastError, incarnation, nodeId } from '@holdfast/base';
import { PEER_PROTOCOL_VERSION, type PeerIdentity } from '@holdfast/protocol';
import type { PeerContext, PeerMember } from './peer-context.ts';

/** @throws HoldfastError PEER_PROTOCOL when the other side speaks another version */
export function checkVersion(version: number): void {
  if (version === PEER_PROTOCOL_VERSION) return;
  const message =
    `the peer speaks version ${version} between nodes, this node ` +
    `${PEER_PROTOCOL_VERSION}; run the same version on every node`;
  throw new HoldfastError('PEER_PROTOCOL', message, { details: { version } });
}

/** @throws HoldfastError PEER_UNAUTHENTICATED unless the proofs are equal */
export function checkProof(received: Uint8Array, expected: Uint8Array, peer: string): void {
  if (received.byteLength === expected.byteLength && timingSafeEqual(received, expected)) return;
  const message = `${peer} does not know the cluster secret; give every node the same secret file`;
  throw new HoldfastError('PEER_UNAUTHENTICATED', message, { details: { peer } });
}

/**
 * How an authenticated node of this cluster stands to our configuration. A guest may be one that
 * joins, one that was added by a change we have not got yet, or one that was removed.
 */
export type PeerStanding = 'member' | 'guest';

/**
 * @throws HoldfastError PEER_WRONG_CLUSTER, PEER_WRONG_EPOCH, PEER_UNAUTHENTICATED (claims to be
 * this node),
 * PEER_WRONG_INCARNATION: a member of another life, which neither joins nor knows more than we do
 */
export function standingOf(context: PeerContext, identity: PeerIdentity): PeerStanding {
  checkCluster(context, identity);
  if (identity.nodeId === context.options.nodeId) {
    const message = `${identity.peerAddress} claims to be this node; give every node its own name`;
    throw new HoldfastError('PEER_UNAUTHENTICATED', message);
  }
  const member = context.roster.get(nodeId(identity.nodeId));
  if (member === undefined) return 'guest';
  if (member.incarnation === identity.incarnation) return 'member';
  if (identity.isJoining || identity.confIndex > context.roster.confIndex) return 'guest';
  throw wrongIncarnation(identity, member.incarnation);
}

/**
 * Is it the node that was dialled?
 * @throws HoldfastError PEER_WRONG_CLUSTER, PEER_WRONG_EPOCH, PEER_UNAUTHENTICATED,
 * PEER_WRONG_INCARNATION
 */
export function checkExpected(
  context: PeerContext,
  identity: PeerIdentity,
  expected: PeerMember,
): void {
  checkCluster(context, identity);
  if (identity.nodeId !== expected.nodeId) {
    const message =
      `the address of ${expected.nodeId} belongs to ${identity.nodeId}; check the addresses of ` +
      'the peers';
    throw new HoldfastError('PEER_UNAUTHENTICATED', message);
  }
  if (identity.incarnation !== expected.incarnation) {
    throw wrongIncarnation(identity, expected.incarnation);
  }
}

/** The authenticated identity as something to dial; null: its address is not HOST:PORT. */
export function memberOfIdentity(context: PeerContext, identity: PeerIdentity): PeerMember | null {
  return context.roster.endpointOf({
    nodeId: nodeId(identity.nodeId),
    incarnation: incarnation(identity.incarnation),
    address: identity.peerAddress,
    clientAddress: identity.publicAddress,
  });
}

/** Another epoch is another cluster, also when the id is the same: see cluster recover. */
function checkCluster(context: PeerContext, identity: PeerIdentity): void {
  const { clusterId, epoch, nodeId } = identity;
  const own = context.options.epoch;
  if (clusterId === context.options.clusterId && epoch === own) {
    checkPlan(context, identity);
    return;
  }
  if (clusterId === context.options.clusterId) {
    const older = epoch < own ? nodeId : 'this node';
    const message =
      `${nodeId} is of epoch ${epoch}, this node of epoch ${own}: the cluster was recovered ` +
      `without ${older}, which must be emptied and join again`;
    throw new HoldfastError('PEER_WRONG_EPOCH', message, { details: { peer: nodeId } });
  }
  const message =
    `${nodeId} belongs to cluster ${clusterId}, this node to ` +
    `${context.options.clusterId}; check the addresses of the peers`;
  throw new HoldfastError('PEER_WRONG_CLUSTER', message, { details: { peer: nodeId } });
}

/** Two restores may say the same cluster and have other states: a plan that was changed by hand. */
function checkPlan(context: PeerContext, { nodeId, planDigest }: PeerIdentity): void {
  const { planDigest: own = '' } = context.options;
  // Who joined later was made by no restore.
  if (own === '' || planDigest === '' || own === planDigest) return;
  const message =
    `${nodeId} was restored by plan ${planDigest.slice(0, 16)}, this node by ` +
    `${own.slice(0, 16)}: lay all nodes again, with holdfast restore run and one plan`;
  throw new HoldfastError('PEER_WRONG_CLUSTER', message, {
    details: { peer: nodeId, planDigest, ownPlanDigest: own },
  });
}

function wrongIncarnation(identity: PeerIdentity, known: string): HoldfastError {
  const message =
    `${identity.nodeId} has incarnation ${identity.incarnation}, the configuration says ` +
    `${known}: its disk was wiped or replaced; it must join as a new incarnation`;
  return new HoldfastError('PEER_WRONG_INCARNATION', message, {
    details: { peer: identity.nodeId },
  });
}
