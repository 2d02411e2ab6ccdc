/**
 * The members as this node's newest configuration names them, and where each is dialled. Replaced
 * as a whole when the configuration changes.
 */
import type { Logger, Member, NodeId } from '@holdfast/base';
import { type Endpoint, parseEndpoint } from '../config/endpoint.ts';
import type { PeerMember } from './peer-context.ts';

export class Roster {
  readonly #addresses: ReadonlyMap<NodeId, Endpoint>;
  readonly #logger: Logger;
  #members: readonly Member[] = [];
  #byId: ReadonlyMap<NodeId, Member> = new Map();
  #confIndex = 0;
  #isJoining = true;

  /** `addresses` were given by the operator and win over those of the configuration. */
  constructor(addresses: ReadonlyMap<NodeId, Endpoint>, logger: Logger) {
    this.#addresses = addresses;
    this.#logger = logger;
  }

  get members(): readonly Member[] {
    return this.#members;
  }

  get confIndex(): number {
    return this.#confIndex;
  }

  /** This node waits to be a member. */
  get isJoining(): boolean {
    return this.#isJoining;
  }

  get(id: NodeId): Member | undefined {
    return this.#byId.get(id);
  }

  replace(members: readonly Member[], confIndex: number, isJoining: boolean): void {
    this.#isJoining = isJoining;
    this.#members = members;
    this.#byId = new Map(members.map((member) => [member.nodeId, member]));
    this.#confIndex = confIndex;
  }

  /** Null, and logged, when the address of the member is not HOST:PORT. */
  endpointOf(member: Member): PeerMember | null {
    const { nodeId, incarnation } = member;
    const address = this.#addresses.get(nodeId) ?? parseEndpoint(member.address);
    if (address !== null) return { nodeId, incarnation, address };
    this.#logger.error(
      { peer: nodeId, address: member.address },
      'the address of a member is not HOST:PORT; correct it with holdfast member update',
    );
    return null;
  }
}
