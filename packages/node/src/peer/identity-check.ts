/**
 * Is the other side of a handshake who the configuration says it is? Asked by both sides, always
 * after the proof: a stranger learns nothing from the answer.
 */
import { timingSafeEqual } from 'node:crypto';
import { HoldfastError, type NodeId } from '@holdfast/base';
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
 * The member behind an authenticated identity.
 * @throws HoldfastError PEER_WRONG_CLUSTER, PEER_UNAUTHENTICATED (no such member),
 * PEER_WRONG_INCARNATION
 */
export function checkIdentity(context: PeerContext, identity: PeerIdentity): PeerMember {
  const { nodeId, clusterId, incarnation } = identity;
  if (clusterId !== context.options.clusterId) {
    const message =
      `${nodeId} belongs to cluster ${clusterId}, this node to ` +
      `${context.options.clusterId}; check the addresses of the peers`;
    throw new HoldfastError('PEER_WRONG_CLUSTER', message, { details: { peer: nodeId } });
  }
  const member = context.members.get(nodeId as NodeId);
  if (member === undefined) {
    const message = `${nodeId} is not a member of this cluster; add it first`;
    throw new HoldfastError('PEER_UNAUTHENTICATED', message, { details: { peer: nodeId } });
  }
  if (member.incarnation !== incarnation) {
    const message =
      `${nodeId} has incarnation ${incarnation}, the configuration says ` +
      `${member.incarnation}: its disk was wiped or replaced; remove it and add it as ` +
      'a new member';
    throw new HoldfastError('PEER_WRONG_INCARNATION', message, { details: { peer: nodeId } });
  }
  return member;
}
